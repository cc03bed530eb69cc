//! Threads on which runs are planned and carried out: while they plan a large query, they answer nothing else.

use tokio::runtime::{Builder, Handle, Runtime};

use pulse_core::{Error, Result};

/// Planning recurses over expressions, joins and steps. The limits of `core/src/sql/limits.rs` fit into this many times over; memory that
/// is not used costs nothing.
const STACK_BYTES: usize = 128 << 20;

/// Ends without waiting for what still runs there.
#[derive(Debug)]
pub(super) struct Work(Option<Runtime>);

impl Work {
    /// # Errors
    /// `Unavailable` when the threads cannot be made.
    pub(super) fn new() -> Result<Self> {
        let runtime = Builder::new_multi_thread()
            .enable_all()
            .thread_name("pulse-work")
            .thread_stack_size(STACK_BYTES)
            .build()
            .map_err(|e| Error::unavailable("the threads of runs cannot be started").with_source(e))?;
        Ok(Self(Some(runtime)))
    }

    pub(super) fn handle(&self) -> Option<Handle> {
        self.0.as_ref().map(|runtime| runtime.handle().clone())
    }
}

impl Drop for Work {
    /// A runtime that is dropped waits, which no task may do.
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}
