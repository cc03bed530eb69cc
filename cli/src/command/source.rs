//! `pulse source`

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use pulse_core::project::{Project, ProjectFiles};
use pulse_core::{Error, Result};
use pulse_engine::job::{Sample, SampleSize, sample};
use pulse_engine::source::file::{SAMPLE_BYTES, infer};

use crate::args::{Global, SourceAction};
use crate::rows::print_batches;
use crate::{output, setup, shape};

pub(crate) async fn source(global: &Global, action: SourceAction) -> Result<ExitCode> {
    match action {
        SourceAction::Infer { path, name } => show_proposal(global, &path, name).await?,
        SourceAction::Preview { name, rows, files, rejects } => {
            let settings = setup::settings(global)?;
            let bench = setup::workbench(global, &settings).await?;
            let sample = sample(&bench, &name, SampleSize { files, rows }).await?;
            if rejects {
                show_rejects(global, &sample)?
            } else {
                print_batches(sample.rows.clone(), global.output).await?
            }
            eprint!("{}", summary(&name, &sample));
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Files of this size are read as a whole, such as Parquet, which is read from its end.
const WHOLE_BYTES: u64 = 256 << 20;

/// A source for one file, or for a folder of Hive's layout.
pub(super) struct Proposed {
    pub(super) name: String,
    /// The file's folder, or the folder itself; absolute.
    pub(super) folder: PathBuf,
    /// For sources.toml.
    pub(super) text: String,
}

/// Describes a file, or a folder of Hive's layout. `root` stands for its folder in the text, unless it is empty.
///
/// # Errors
/// `Invalid` for a file that cannot be read, or whose format is not recognised.
pub(super) fn propose(path: &Path, name: Option<String>, root: &str) -> Result<Proposed> {
    let named = path.display().to_string();
    let unreadable = |e| {
        let what = "name one file of this machine, or a folder of Hive's layout";
        Error::invalid(format!("{named} cannot be read: {what}")).with_source(e)
    };
    let path = path.canonicalize().map_err(unreadable)?;
    let (whole, folders) = (path.clone(), folders_of(&path).map_err(unreadable)?);
    let path = folders.as_ref().map_or(path, |folders| folders.file.clone());
    let length = path.metadata().map_err(unreadable)?.len();
    let wanted = if length <= WHOLE_BYTES { length } else { SAMPLE_BYTES as u64 };
    let mut bytes = Vec::new();
    std::fs::File::open(&path).and_then(|file| file.take(wanted).read_to_end(&mut bytes)).map_err(unreadable)?;
    let (folder, file) = (path.parent().unwrap_or(&path), path.file_name().unwrap_or_default().to_string_lossy());
    let proposal = infer(&file, &bytes, wanted == length)?;
    let (proposal, folder, called, pattern) = match &folders {
        Some(Folders { columns, pattern, .. }) => {
            let called = whole.file_name().unwrap_or_default().to_string_lossy();
            (proposal.with_partitions(columns), whole.as_path(), called, pattern.as_str())
        }
        None => (proposal, folder, file.clone(), file.as_ref()),
    };
    for (line, why) in proposal.broken() {
        eprintln!("warning: {named}: line {line} is no record and will be rejected: {why}");
    }
    let name = name.unwrap_or_else(|| proposal.source_name(&called));
    let root = if root.is_empty() { folder.to_string_lossy() } else { root.into() };
    Ok(Proposed { text: proposal.to_toml(&name, &root, pattern), name, folder: folder.to_owned() })
}

/// Shows a proposal, and reads a file by it.
async fn show_proposal(global: &Global, path: &Path, name: Option<String>) -> Result<()> {
    let Proposed { name, text, .. } = propose(path, name, "")?;
    output::data(&text);
    let files = ProjectFiles::from([
        ("project.toml".to_owned(), "name = \"proposal\"\n[defaults]\nowner = \"nobody\"\n".to_owned()),
        ("sources.toml".to_owned(), text),
    ]);
    let project = Project::parse(&files)?;
    let settings = setup::settings(global)?;
    let bench = setup::workbench_of(project, global, &settings).await?;
    let sample = sample(&bench, &name, SampleSize { files: 1, rows: 0 }).await?;
    eprint!("{}", summary(&name, &sample));
    Ok(())
}

/// A folder of Hive's layout.
struct Folders {
    /// Columns with the texts that their folders say, the outermost first.
    columns: Vec<(String, Vec<String>)>,
    /// One of its files.
    file: PathBuf,
    /// What all files are called.
    pattern: String,
}

/// Names of folders that are looked at.
const LOOKED_AT: usize = 1000;

/// `None` for a file.
fn folders_of(path: &Path) -> std::io::Result<Option<Folders>> {
    let mut columns: Vec<(String, Vec<String>)> = Vec::new();
    let mut here = path.to_owned();
    while here.is_dir() {
        let mut names: Vec<String> = Vec::new();
        for entry in std::fs::read_dir(&here)? {
            names.push(entry?.file_name().to_string_lossy().into_owned());
        }
        names.retain(|name| !name.starts_with(['.', '_']));
        names.sort();
        let said: Vec<(&str, &str)> = names.iter().filter_map(|name| name.split_once('=')).collect();
        let next = match said.first() {
            Some((key, _)) => {
                let texts = said.iter().filter(|(other, _)| other == key).take(LOOKED_AT);
                columns.push(((*key).to_owned(), texts.map(|(_, text)| (*text).to_owned()).collect()));
                names.iter().find(|name| name.contains('='))
            }
            None => names.iter().find(|name| here.join(name).is_file()),
        };
        match next {
            Some(next) => here.push(next),
            None => return Err(std::io::Error::other(format!("{} has no file", here.display()))),
        }
    }
    if columns.is_empty() {
        return match path.is_dir() {
            true => Err(std::io::Error::other("no folder in it is named `column=value`")),
            false => Ok(None),
        };
    }
    let name = here.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let known = ["parquet", "csv", "json", "jsonl", "ndjson", "avro", "txt", "tsv"];
    let pattern = known.iter().find(|known| name.split('.').skip(1).any(|part| part == **known));
    let pattern = pattern.map_or("*".to_owned(), |known| format!("*.{known}"));
    Ok(Some(Folders { columns, file: here, pattern }))
}

fn show_rejects(global: &Global, sample: &Sample) -> Result<()> {
    let rows: Vec<Vec<String>> = sample
        .examples
        .iter()
        .map(|row| vec![row.file.clone(), row.line.to_string(), row.reason.clone(), row.raw.clone()])
        .collect();
    let values: Vec<_> = sample
        .examples
        .iter()
        .map(|row| shape::Reject {
            file: row.file.clone(),
            line: row.line,
            reason: row.reason.clone(),
            raw: row.raw.clone(),
        })
        .collect();
    output::table(&["file", "line", "reason", "raw"], &rows, &values, global.output)
}

/// The last lines on stderr: what was read, and what was rejected.
fn summary(name: &str, sample: &Sample) -> String {
    let rejected: u64 = sample.rejected.iter().map(|one| one.rows).sum();
    let name = name.strip_prefix("raw.").unwrap_or(name);
    let mut text = format!(
        "\nraw.{name}: {} of {} files read, {} rows kept, {} rejected\n",
        sample.files_read,
        sample.files,
        output::count(sample.kept),
        output::count(rejected)
    );
    for one in &sample.rejected {
        text.push_str(&format!("  {} rejected: {}\n", output::count(one.rows), one.reason));
    }
    for note in &sample.notes {
        text.push_str(&format!("note: {note}\n"));
    }
    for warning in &sample.warnings {
        text.push_str(&format!("warning: {warning}\n"));
    }
    text
}
