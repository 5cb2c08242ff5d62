//! One run: plan, progress, resume, artifacts.
