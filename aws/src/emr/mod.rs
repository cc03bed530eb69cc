//! Clusters on EMR: one specification, which Terraform writes, and what can be done with it.

mod cluster;
mod groups;
mod pool;
mod request;
mod spec;
mod state;
mod step;

pub use cluster::{ClusterView, Clusters, Started, StepView, Waited};
pub use groups::{GroupView, Market, Role};
pub use pool::{EmrPool, Machine};
pub use spec::{ClusterSpec, load};
pub use step::{StepOutcome, StepRequest, Steps};

#[cfg(test)]
mod tests;
