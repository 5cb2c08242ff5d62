//! Parity with lm-evaluation-harness, document by document, on the reference data.

mod prompts;
