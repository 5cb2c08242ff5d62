//! Runs model-written Python, isolated.
