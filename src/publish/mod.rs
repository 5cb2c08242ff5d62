//! Commits and pushes with git2.
