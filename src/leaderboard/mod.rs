//! Registry, pillars, aggregate, ranks and badges: everything that is derived from run artifacts. Pure: artifacts in, JSON out.

pub mod canonical;
pub mod identity;
pub mod pillars;
pub mod run;
