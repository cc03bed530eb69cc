//! Fetches the result of a finished plan from the executors that hold it.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::RecordBatch;
use ballista_core::client::BallistaClient;
use ballista_core::extension::BallistaConfigGrpcEndpoint;
use ballista_core::serde::protobuf::{ExecutorMetadata, PartitionId, PartitionLocation};
use futures::{StreamExt, TryStreamExt};
use pulse_core::settings::Settings;
use pulse_core::{Error, Result};
use pulse_engine::cluster::grpc_bytes;
use pulse_transport::{Door, Role};

use super::members::Members;

/// Maximum number of partitions fetched at once, each on its own connection.
const FETCHES: usize = 16;
/// Attempts at one location, and the delay between them. A lost executor does not come back.
const ATTEMPTS: u8 = 3;
const WAIT_MS: u64 = 200;

/// How executors are called.
#[derive(Clone)]
pub(super) struct By {
    message_bytes: usize,
    way: Arc<BallistaConfigGrpcEndpoint>,
}

impl By {
    pub(super) fn new(settings: &Settings, door: &Door) -> Self {
        let door = door.clone();
        let way = BallistaConfigGrpcEndpoint::new(Arc::new(move |endpoint| {
            door.way(endpoint, Role::Executor, None).map_err(Into::into)
        }));
        Self { message_bytes: grpc_bytes(settings), way: Arc::new(way) }
    }
}

/// Fetches exactly one attempt of each of `partitions` partitions, in their order. If an executor was lost late, a partition has several
/// locations; the newest one that answers counts.
///
/// # Errors
/// `Internal` if a partition is missing or unknown, `Unavailable` if none of its locations answers.
pub(super) async fn fetch(
    name: &str,
    locations: Vec<PartitionLocation>,
    partitions: usize,
    by: &By,
    members: &Members,
) -> Result<Vec<Vec<RecordBatch>>> {
    let places = by_partition(name, locations, partitions)?;
    futures::stream::iter(places)
        .map(|places| fetch_any(name, places, by, members))
        .buffered(FETCHES)
        .try_collect()
        .await
}

/// Locations of each partition, the newest first.
fn by_partition(
    name: &str,
    locations: Vec<PartitionLocation>,
    partitions: usize,
) -> Result<Vec<Vec<PartitionLocation>>> {
    let mut places: BTreeMap<usize, Vec<PartitionLocation>> = BTreeMap::new();
    for location in locations {
        let id = location.partition_id.as_ref().map(|id| id.partition_id as usize);
        let id = id.ok_or_else(|| Error::internal(format!("{name}: a place has no partition")))?;
        places.entry(id).or_default().insert(0, location);
    }
    if !places.keys().copied().eq(0..partitions) {
        let found: Vec<usize> = places.into_keys().collect();
        return Err(Error::internal(format!(
            "{name}: the answer has partitions {found:?} instead of all {partitions}; run it again"
        )));
    }
    Ok(places.into_values().collect())
}

async fn fetch_any(name: &str, places: Vec<PartitionLocation>, by: &By, members: &Members) -> Result<Vec<RecordBatch>> {
    let mut last = None;
    for place in places {
        if place.partition_stats.as_ref().is_some_and(|stats| stats.num_rows == 0) {
            return Ok(Vec::new());
        }
        match fetch_one(name, &place, by, members).await {
            Ok(batches) => return Ok(batches),
            Err(error) => last = Some(error),
        }
    }
    Err(last.unwrap_or_else(|| Error::internal(format!("{name}: a partition has no place"))))
}

async fn fetch_one(name: &str, place: &PartitionLocation, by: &By, members: &Members) -> Result<Vec<RecordBatch>> {
    let (Some(executor), Some(partition)) = (&place.executor_meta, &place.partition_id) else {
        return Err(Error::internal(format!("{name}: a place names no executor")));
    };
    let failed = |why: &dyn std::fmt::Display| {
        Error::unavailable(format!(
            "{name}: executor {}:{} does not hand out partition {}: {why}; run it again",
            executor.host, executor.port, partition.partition_id
        ))
    };
    tokio::select! {
        rows = read(executor, partition, place, by) => rows.map_err(|error| failed(&error)),
        // One that stands still would be waited for much longer.
        () = members.lost(&executor.id) => Err(failed(&"it was lost")),
    }
}

async fn read(
    executor: &ExecutorMetadata,
    partition: &PartitionId,
    place: &PartitionLocation,
    by: &By,
) -> std::result::Result<Vec<RecordBatch>, Box<dyn std::error::Error + Send + Sync>> {
    let port = u16::try_from(executor.port)?;
    let host = executor.host.as_str();
    // The way itself has TLS.
    let way = Some(Arc::clone(&by.way));
    let mut client = BallistaClient::try_new(host, port, by.message_bytes, false, way, ATTEMPTS, WAIT_MS, 0, 0).await?;
    let id = partition.clone().into();
    let rows = client.fetch_partition(&executor.id, &id, place.file_id, place.layout(), true).await?;
    Ok(rows.try_collect().await?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(partition: u32, executor: &str) -> PartitionLocation {
        PartitionLocation {
            partition_id: Some(PartitionId { job_id: "job".to_owned(), stage_id: 2, partition_id: partition }),
            executor_meta: Some(ExecutorMetadata { id: executor.to_owned(), ..ExecutorMetadata::default() }),
            ..PartitionLocation::default()
        }
    }

    fn executors(places: &[PartitionLocation]) -> Vec<&str> {
        places.iter().filter_map(|place| place.executor_meta.as_ref().map(|meta| meta.id.as_str())).collect()
    }

    #[test]
    fn a_partition_that_ran_twice_is_there_once_the_newest_first() {
        let places = by_partition("a.b", vec![place(1, "dead"), place(0, "x"), place(1, "y")], 2).unwrap();
        assert_eq!(places.len(), 2);
        assert_eq!(executors(&places[0]), ["x"]);
        assert_eq!(executors(&places[1]), ["y", "dead"]);
    }

    #[test]
    fn a_missing_or_unknown_partition_is_an_error() {
        for (locations, partitions) in [(vec![place(0, "x"), place(2, "x")], 3), (vec![place(1, "x")], 1), (vec![], 1)]
        {
            let error = by_partition("a.b", locations, partitions).unwrap_err();
            assert_eq!(error.kind(), pulse_core::ErrorKind::Internal);
        }
    }
}
