//! Reads one snapshot over several connections.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use futures::TryStreamExt as _;
use pulse_core::{Error, Result};
use pulse_engine::execute::{Progress, Reached};
use pulse_engine::landing::{LandedFile, LandingFolder, PartWriter, ReadFiles, ReadRequest, Reading};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_postgres::binary_copy::BinaryCopyOutStream;
use tokio_postgres::types::Type;

use crate::connect::{Connector, Session};
use crate::error::from_postgres;
use crate::ranges::{Range, since, whole};
use crate::relation::{Described, Relation};

/// Rows between two progress messages.
const ROWS_A_WORD: u64 = 10_000;

/// A snapshot of the database, held by a transaction as long as this lives.
pub(crate) struct Snapshot {
    connector: Connector,
    holder: Session,
    /// Its id, with which other transactions import it.
    exported: String,
    tables: Vec<SeenTable>,
}

/// One table in that snapshot.
pub(crate) struct SeenTable {
    relation: Relation,
    described: Described,
    /// The snapshot's identity; `None` if rows may differ between reads of the same snapshot.
    moment: Option<String>,
    unchanged: bool,
}

impl SeenTable {
    /// Whether its rows equal those already landed.
    pub(crate) fn is_unchanged(&self) -> bool {
        self.unchanged
    }
}

impl Snapshot {
    /// # Errors
    /// By kind: `Invalid` when the database or a table cannot be read as declared, `Unavailable` when it does not answer.
    pub(crate) async fn take(request: &ReadRequest) -> Result<Self> {
        let connector = Connector::new(request)?;
        let holder = connector.connect().await?;
        let mut relations = Vec::new();
        for table in &request.tables {
            relations.push(Relation::find(&holder, table).await?);
        }
        let doing = format!("take a snapshot of `databases.{}`", request.name);
        let failed = |e| from_postgres(&doing, &e);
        holder.begin().await.map_err(failed)?;
        holder.settle().await.map_err(failed)?;
        for (relation, table) in relations.iter().zip(&request.tables) {
            if let Some(lock) = relation.lock() {
                let doing = format!("lock raw.{} against changes of its columns", table.name);
                holder.batch_execute(&lock).await.map_err(|e| from_postgres(&doing, &e))?;
            }
        }
        let row = holder
            .query_one(
                "select pg_export_snapshot(), txid_current_snapshot()::text || ' of ' || pg_postmaster_start_time()::text || ' ' || \
                 (select oid::text from pg_database where datname = current_database())",
                &[],
            )
            .await
            .map_err(failed)?;
        let (exported, moment): (String, String) = (row.get(0), row.get(1));
        let mut tables = Vec::new();
        for (relation, table) in relations.into_iter().zip(&request.tables) {
            let described = relation.describe(&holder, table).await?;
            let moment = relation.is_of_snapshot().then(|| moment.clone());
            let known = table.known.as_ref().and_then(|known| known.snapshot.as_ref());
            let unchanged = moment.is_some() && known == moment.as_ref();
            tables.push(SeenTable { relation, described, moment, unchanged });
        }
        Ok(Self { connector, holder, exported, tables })
    }

    pub(crate) fn tables(&self) -> &[SeenTable] {
        &self.tables
    }

    /// Reads all tables that may have changed.
    ///
    /// # Errors
    /// By kind, and those of the lake's store.
    pub(crate) async fn read(&self, request: &ReadRequest, progress: Progress<'_>) -> Result<Vec<Reading>> {
        let mut readings = Vec::new();
        let mut work = VecDeque::new();
        for (at, (table, asked)) in self.tables.iter().zip(&request.tables).enumerate() {
            if table.unchanged {
                readings.push(Reading::Unchanged);
                continue;
            }
            let doing = format!("read raw.{}", asked.name);
            let failed = |e| from_postgres(&doing, &e);
            let (holder, relation) = (&self.holder, &table.relation);
            let pages = relation.pages(holder, holder.version).await.map_err(failed)?;
            let last = asked.known.as_ref().and_then(|known| known.cut.as_deref());
            let (cut, ranges) = match &table.described.mark {
                None => (None, whole(pages)),
                Some(mark) => {
                    let query = mark.next_cut(&relation.from(), last);
                    let next: Option<String> = holder.query_one(&query, &[]).await.map_err(failed)?.get(0);
                    let ranges = since(mark, last, next.as_deref(), asked.number, pages);
                    (next, ranges)
                }
            };
            for range in ranges {
                let rows = format!("select {} from {}", table.described.row, relation.from());
                let folder = Arc::clone(&asked.folder);
                work.push_back(Piece { table: at, rows, range, folder, doing: doing.clone() });
            }
            readings.push(Reading::Read(ReadFiles { snapshot: table.moment.clone(), cut, files: Vec::new() }));
        }
        for (at, files) in self.carry_out(work, request.database.connections, progress).await? {
            if let Some(Reading::Read(read)) = readings.get_mut(at) {
                read.files.extend(files);
            }
        }
        Ok(readings)
    }

    async fn carry_out(
        &self,
        work: VecDeque<Piece>,
        connections: u8,
        progress: Progress<'_>,
    ) -> Result<Vec<(usize, Vec<LandedFile>)>> {
        let pieces = work.len();
        let readers = pieces.min(usize::from(connections));
        let work = Arc::new(Mutex::new(work));
        let (words, mut heard) = mpsc::unbounded_channel();
        // Dropping the set aborts the tasks.
        let mut tasks = JoinSet::new();
        for _ in 0..readers {
            let (connector, snapshot) = (self.connector.clone(), self.exported.clone());
            tasks.spawn(read_pieces(connector, snapshot, Arc::clone(&work), words.clone()));
        }
        drop(words);
        let (mut done, mut rows, mut files) = (0, 0, Vec::new());
        loop {
            tokio::select! {
                // The first error aborts all.
                Some(ended) = tasks.join_next() => {
                    ended.map_err(|e| Error::internal("a task that reads a database panicked").with_source(e))??;
                }
                Some(word) = heard.recv() => {
                    match word {
                        Word::Rows(more) => rows += more,
                        Word::Done(table, landed) => {
                            done += 1;
                            files.push((table, landed));
                        }
                    }
                    progress(Reached { done, tasks: pieces, rows, bytes: 0 });
                }
                else => break,
            }
        }
        match done == pieces {
            true => Ok(files),
            false => Err(Error::internal("a piece of a database was not read")),
        }
    }
}

/// The rows that one query reads.
struct Piece {
    /// Index of the table in the request.
    table: usize,
    rows: String,
    range: Range,
    folder: Arc<LandingFolder>,
    doing: String,
}

enum Word {
    Rows(u64),
    Done(usize, Vec<LandedFile>),
}

async fn read_pieces(
    connector: Connector,
    snapshot: String,
    work: Arc<Mutex<VecDeque<Piece>>>,
    words: mpsc::UnboundedSender<Word>,
) -> Result<()> {
    let session = connector.connect().await?;
    let doing = "take over the snapshot of a database";
    let failed = |e| from_postgres(doing, &e);
    session.begin().await.map_err(failed)?;
    session.batch_execute(&format!("set transaction snapshot '{snapshot}'")).await.map_err(failed)?;
    session.settle().await.map_err(failed)?;
    let next = || work.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
    while let Some(piece) = next() {
        let files = read_piece(&session, &piece, &words).await?;
        // The receiver is gone if the run has ended.
        let _ = words.send(Word::Done(piece.table, files));
    }
    Ok(())
}

async fn read_piece(session: &Session, piece: &Piece, words: &mpsc::UnboundedSender<Word>) -> Result<Vec<LandedFile>> {
    let failed = |e| from_postgres(&piece.doing, &e);
    let range = &piece.range;
    let condition = if range.condition.is_empty() { String::new() } else { format!(" where {}", range.condition) };
    let copy = format!("copy ({}{condition}) to stdout (format binary)", piece.rows);
    let stream = session.copy_out(copy.as_str()).await.map_err(failed)?;
    // Raw bytes of a text: the file reader validates UTF-8 row by row.
    let mut rows = std::pin::pin!(BinaryCopyOutStream::new(stream, &[Type::BYTEA]));
    let mut writer = PartWriter::new(&piece.folder, range.name.as_str(), range.stays)?;
    let mut unsaid = 0;
    while let Some(row) = rows.try_next().await.map_err(failed)? {
        writer.line(row.try_get(0).map_err(failed)?).await?;
        unsaid += 1;
        if unsaid == ROWS_A_WORD {
            let _ = words.send(Word::Rows(std::mem::take(&mut unsaid)));
        }
    }
    let _ = words.send(Word::Rows(unsaid));
    writer.finish(range.never_none).await
}
