//! The memory pool of one process's queries.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};

use datafusion::error::{DataFusionError, Result};
use datafusion::execution::memory_pool::{FairSpillPool, MemoryConsumer, MemoryLimit, MemoryPool, MemoryReservation};

/// A consumer that holds nothing gets this fraction even if nothing is left: a sort then spills before each further
/// batch, but does not fail because others reserved memory first.
const FIRST_SHARE: usize = 8;

/// DataFusion's name for the memory of a sort, both for its collected rows and for merging them.
const SORT: &str = "ExternalSorter[";
const MERGE: &str = "ExternalSorterMerge[";

/// DataFusion's fair pool with a fixed share for every sort: half of the memory to collect rows, the other half to
/// merge them.
///
/// DataFusion lets a merge take all remaining memory and hold it until its rows are read. The sort of a join's other
/// side could then not even begin, and if all memory holds collected rows, none is left to merge and spill them. A
/// merge with limited memory takes several passes over its files instead.
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
