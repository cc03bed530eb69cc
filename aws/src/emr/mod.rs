//! Clusters on EMR: their specification, which Terraform writes, and the operations on them.

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
