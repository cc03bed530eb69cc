//! PostgreSQL as a source: reads the rows of one snapshot over several connections as lines of JSON, which the engine's
//! file reader parses into rows or rejects.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod column;
mod connect;
mod error;
mod ranges;
mod read;
mod relation;
mod secret;
mod tls;

use async_trait::async_trait;
use pulse_core::Result;
use pulse_engine::execute::Progress;
use pulse_engine::landing::{DatabaseReader, ReadRequest, Reading};

/// Reads PostgreSQL databases.
#[derive(Debug, Clone, Copy, Default)]
pub struct Postgres;

#[async_trait]
impl DatabaseReader for Postgres {
    async fn look(&self, request: &ReadRequest) -> Result<Vec<bool>> {
        let snapshot = read::Snapshot::take(request).await?;
        Ok(snapshot.tables().iter().map(|table| !table.is_unchanged()).collect())
    }

    async fn read(&self, request: &ReadRequest, progress: Progress<'_>) -> Result<Vec<Reading>> {
        let snapshot = read::Snapshot::take(request).await?;
        snapshot.read(request, progress).await
    }
}
