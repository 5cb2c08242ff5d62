//! Registry, pillars, aggregate, ranks and badges: everything that is derived from run artifacts. Pure: artifacts in, JSON out.

pub mod badges;
pub mod board;
pub mod canonical;
pub mod identity;
pub mod pillars;
pub mod ranking;
pub mod registry;
pub mod run;
