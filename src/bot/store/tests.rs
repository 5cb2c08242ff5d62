//! Promises of the store.
