//! Rows of databases, landed as files below the lake before a run reads them: `_pulse/databases/<database>/<source>`.
//!
//! Files are never changed. A manifest lists those that hold the rows of one moment, and the next manifest is made by one request that
//! fails if somebody else made it first. What is not listed is not read.

mod folder;
mod manifest;
mod parts;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use pulse_core::project::Job;
use pulse_core::sources::{Address, Database, DatabaseTable};
use pulse_core::{Error, Result};

use crate::execute::Progress;
use crate::job::Workbench;
use crate::step::{Step, reached};

pub use folder::LandingFolder;
pub(crate) use folder::landing_root;
pub use manifest::{LandedFile, Manifest};
pub use parts::PartWriter;

/// Attempts at landing while others land the same source.
const ATTEMPTS: u32 = 3;

/// Reads databases.
#[async_trait]
pub trait DatabaseReader: fmt::Debug + Send + Sync {
    /// Whether each table may have changed since its rows were landed. Reads no rows.
    ///
    /// # Errors
    /// By kind: `Invalid` when the database or a table cannot be read as declared, `Unavailable` when it does not answer.
    async fn look(&self, request: &ReadRequest) -> Result<Vec<bool>>;

    /// Reads all tables as they are at one moment.
    ///
    /// # Errors
    /// As [`Self::look`], and those of the lake's store.
    async fn read(&self, request: &ReadRequest, progress: Progress<'_>) -> Result<Vec<Reading>>;
}

/// What is read of one database.
#[derive(Debug)]
pub struct ReadRequest {
    /// As sources.toml has it.
    pub name: String,
    pub database: Database,
    pub address: Address,
    pub tables: Vec<TableRequest>,
}

/// One source.
#[derive(Debug)]
pub struct TableRequest {
    pub name: String,
    pub table: DatabaseTable,
    /// What was landed by the same definition.
    pub known: Option<Manifest>,
    /// The next manifest's number.
    pub number: u64,
    pub folder: Arc<LandingFolder>,
}

/// Rows of one table.
#[derive(Debug)]
pub enum Reading {
    /// Those of the manifest that is known.
    Unchanged,
    Read(ReadFiles),
}

/// Files with rows that were read.
#[derive(Debug, Default)]
pub struct ReadFiles {
    /// See [`Manifest`].
    pub snapshot: Option<String>,
    pub cut: Option<String>,
    /// Beside those of the known manifest that stay.
    pub files: Vec<LandedFile>,
}

/// The way to databases, and what a run has landed of them.
#[derive(Debug, Clone, Default)]
pub struct Databases {
    reader: Option<Arc<dyn DatabaseReader>>,
    landed: Arc<BTreeMap<String, Manifest>>,
}

impl Databases {
    pub fn new(reader: Arc<dyn DatabaseReader>) -> Self {
        Self { reader: Some(reader), landed: Arc::default() }
    }

    fn reader(&self, database: &str) -> Result<&dyn DatabaseReader> {
        self.reader.as_deref().ok_or_else(|| {
            Error::invalid(format!(
                "`databases.{database}`: this build of pulse reads no databases: build it with the feature `postgres`"
            ))
        })
    }

    /// What the run has landed of a source.
    pub(crate) fn landed(&self, source: &str) -> Option<&Manifest> {
        self.landed.get(source)
    }
}

/// Lands the rows of the databases that the job reads, those of one database as they are at one moment. Returns the bench that reads
/// just these.
pub(crate) async fn land(bench: &Workbench, job: &Job, progress: Progress<'_>) -> Result<Workbench> {
    let mut landed = BTreeMap::new();
    for database in databases(bench, job) {
        landed.extend(land_database(bench, job, &database, progress).await?);
    }
    let databases = Databases { reader: bench.databases.reader.clone(), landed: Arc::new(landed) };
    Ok(Workbench { databases, ..bench.clone() })
}

/// Sources of the job whose databases may have changed since they were read.
pub(crate) async fn look(bench: &Workbench, job: &Job) -> Result<Vec<String>> {
    let mut changed = Vec::new();
    for database in databases(bench, job) {
        let request = request(bench, job, &database).await?;
        let answers = bench.databases.reader(&database)?.look(&request).await?;
        let of = |(table, changed): (TableRequest, bool)| changed.then_some(table.name);
        changed.extend(request.tables.into_iter().zip(answers).filter_map(of));
    }
    Ok(changed)
}

/// Databases that the job reads.
fn databases(bench: &Workbench, job: &Job) -> Vec<String> {
    let sources = &bench.project.sources;
    let mut names: Vec<String> = job
        .query
        .files()
        .into_iter()
        .filter_map(|source| sources.database_of(source).map(|(database, ..)| database.to_owned()))
        .collect();
    names.sort();
    names.dedup();
    names
}

async fn request(bench: &Workbench, job: &Job, database: &str) -> Result<ReadRequest> {
    let declared = bench.project.sources.databases.get(database);
    let declared = declared.ok_or_else(|| Error::internal(format!("database `{database}` is not declared")))?;
    let address = declared.address(database)?;
    let mut tables = Vec::new();
    for (name, table) in &declared.tables {
        if !job.query.files().contains(&name.as_str()) {
            continue;
        }
        let folder = LandingFolder::new(&bench.lake, database, name)?;
        let newest = folder.newest().await?;
        let number = newest.as_ref().map_or(0, |newest| newest.number) + 1;
        let definition = table.definition(&address);
        tables.push(TableRequest {
            name: name.clone(),
            table: table.clone(),
            known: newest.filter(|newest| newest.definition == definition),
            number,
            folder: Arc::new(folder),
        });
    }
    Ok(ReadRequest { name: database.to_owned(), database: declared.clone(), address, tables })
}

async fn land_database(
    bench: &Workbench,
    job: &Job,
    database: &str,
    progress: Progress<'_>,
) -> Result<BTreeMap<String, Manifest>> {
    for _ in 0..ATTEMPTS {
        let request = request(bench, job, database).await?;
        let readings = bench.databases.reader(database)?.read(&request, progress).await?;
        if let Some(landed) = commit(request, readings).await? {
            return Ok(landed);
        }
    }
    Err(Error::conflict(format!(
        "job {}: other runs always landed rows of database `{database}` first; run it alone",
        job.name
    )))
}

/// None when another run landed rows of a source first.
async fn commit(request: ReadRequest, readings: Vec<Reading>) -> Result<Option<BTreeMap<String, Manifest>>> {
    let mut landed = BTreeMap::new();
    for (table, reading) in request.tables.into_iter().zip(readings) {
        let definition = table.table.definition(&request.address);
        let manifest = match (reading, table.known) {
            (Reading::Unchanged, Some(known)) => known,
            (Reading::Unchanged, None) => {
                return Err(Error::internal(format!("raw.{}: unchanged, and never landed", table.name)));
            }
            (Reading::Read(read), known) => {
                let next = Manifest::after(known.as_ref(), definition, table.number, read);
                if let Some(known) = known.filter(|known| known.says_the_same(&next)) {
                    known
                } else {
                    reached(Step::RowsRead);
                    if !table.folder.commit(&next).await? {
                        return Ok(None);
                    }
                    reached(Step::Landed);
                    table.folder.clean(&next).await;
                    next
                }
            }
        };
        landed.insert(table.name, manifest);
    }
    Ok(Some(landed))
}
