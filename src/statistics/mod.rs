//! Standard errors, intervals and paired tests. Pure: numbers in, numbers out.
