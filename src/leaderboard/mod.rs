//! Registry, pillars, aggregate, ranks and badges: everything that is derived from run artifacts. Pure: artifacts in, JSON out.

pub mod audit;
pub mod badges;
pub mod board;
pub mod canonical;
pub mod compare;
pub mod energy;
pub mod identity;
pub mod import;
pub mod merge;
pub mod paired;
pub mod pillars;
pub mod probes;
pub mod ranking;
pub mod registry;
pub mod report;
pub mod run;
pub mod tested;

pub use board::{Leaderboard, derive};
pub use identity::{RunIdentity, TaskIdentity, weights_digest};
pub use paired::{ItemScores, TestCounts};
pub use pillars::{PillarSpec, summarise};
pub use registry::{Decision, Registry, RegistryError, RunSummary, Submitted};
pub use run::{
    Aggregate, DatasetRecord, EngineRecord, Environment, Figure, FigureSet, GroupRecord, Informational, Items, Limit, Metric, ModelRecord,
    Parameters, PillarScore, Quantization, RUN_SCHEMA_VERSION, Run, SampleFile, SampleLine, SelfCheck, SuiteRecord, TaskRecord, TaskStatus,
    Warning, WeightFile,
};
pub use tested::{TestedPairs, TestedPairsError};
