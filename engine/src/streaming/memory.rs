//! The memory of one process's queries.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};

use datafusion::error::{DataFusionError, Result};
use datafusion::execution::memory_pool::{FairSpillPool, MemoryConsumer, MemoryLimit, MemoryPool, MemoryReservation};

/// Who holds nothing yet gets one part in this many, also when nothing is left: a sort spills before each further batch
/// then, but it does not fail because others came first.
const FIRST_SHARE: usize = 8;

/// What DataFusion calls the rows that a sort collects, and what it needs to merge them.
const SORT: &str = "ExternalSorter[";
const MERGE: &str = "ExternalSorterMerge[";

/// DataFusion's fair pool with a fixed share for every sort: of one half of the memory to collect rows, of the other half to
/// merge them.
///
/// DataFusion lets a merge take all that is left. It holds that until its rows are read, and the sort of a join's other side
/// then could not even begin; and sorts that have collected rows everywhere leave nothing to merge and spill them with. A
/// merge that may not take more goes over its files more than once.
#[derive(Debug)]
pub(crate) struct SharedPool {
    fair: FairSpillPool,
    bytes: usize,
    merges: AtomicUsize,
}

impl SharedPool {
    pub(crate) fn new(bytes: usize) -> Self {
        Self { fair: FairSpillPool::new(bytes), bytes, merges: AtomicUsize::new(0) }
    }
}

fn is_of_a_sort(consumer: &MemoryConsumer) -> bool {
    consumer.name().starts_with(SORT) || is_merge(consumer)
}

fn is_merge(consumer: &MemoryConsumer) -> bool {
    consumer.name().starts_with(MERGE)
}

impl fmt::Display for SharedPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.fair.fmt(f)
    }
}

impl MemoryPool for SharedPool {
    fn name(&self) -> &str {
        "shared"
    }

    fn register(&self, consumer: &MemoryConsumer) {
        if is_merge(consumer) {
            self.merges.fetch_add(1, Ordering::Relaxed);
        }
        self.fair.register(consumer);
    }

    fn unregister(&self, consumer: &MemoryConsumer) {
        if is_merge(consumer) {
            self.merges.fetch_sub(1, Ordering::Relaxed);
        }
        self.fair.unregister(consumer);
    }

    fn grow(&self, reservation: &MemoryReservation, additional: usize) {
        self.fair.grow(reservation, additional);
    }

    fn shrink(&self, reservation: &MemoryReservation, shrink: usize) {
        self.fair.shrink(reservation, shrink);
    }

    fn try_grow(&self, reservation: &MemoryReservation, additional: usize) -> Result<()> {
        if reservation.size() == 0 && additional <= self.bytes / FIRST_SHARE {
            self.fair.grow(reservation, additional);
            return Ok(());
        }
        let share = self.bytes / 2 / self.merges.load(Ordering::Relaxed).max(1);
        if is_of_a_sort(reservation.consumer()) && reservation.size() + additional > share {
            return Err(DataFusionError::ResourcesExhausted(format!(
                "{} holds {} bytes and needs {additional} more, beyond its share of {share}",
                reservation.consumer().name(),
                reservation.size(),
            )));
        }
        self.fair.try_grow(reservation, additional)
    }

    fn reserved(&self) -> usize {
        self.fair.reserved()
    }

    fn memory_limit(&self) -> MemoryLimit {
        self.fair.memory_limit()
    }
}
