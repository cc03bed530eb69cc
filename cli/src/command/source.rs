//! `pulse source`

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use pulse_core::project::{Project, ProjectFiles};
use pulse_core::{Error, Result};
use pulse_engine::job::{Sample, SampleSize, sample};
use pulse_engine::source::file::{SAMPLE_BYTES, infer};

use super::init::relative;
use crate::args::{Global, SourceAction};
use crate::home::{Home, home};
use crate::rows::print_batches;
use crate::{output, setup, shape};

pub(crate) async fn source(global: &Global, action: SourceAction) -> Result<ExitCode> {
    match action {
        SourceAction::Infer { path, name } => show_proposal(global, &path, name).await?,
        SourceAction::Preview { name, rows, files, rejects } => {
            let settings = setup::settings(global)?;
            let bench = setup::workbench_of(with_source(global, &name)?, global, &settings).await?;
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

/// The project, whatever is wrong in it beside the source.
fn with_source(global: &Global, name: &str) -> Result<Project> {
    let parsed = setup::readable(global)?;
    let name = name.strip_prefix("raw.").unwrap_or(name);
    match parsed.sources {
        Some(mistakes) if !parsed.project.sources.files.contains_key(name) => Err(mistakes),
        _ => Ok(parsed.project),
    }
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

/// Describes a file, or a folder of Hive's layout. `root` says what stands for its folder in the text.
///
/// # Errors
/// `Invalid` for a file that cannot be read, or whose format is not recognised.
pub(super) fn propose(path: &Path, name: Option<String>, root: &dyn Fn(&Path) -> String) -> Result<Proposed> {
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
    for (column, doubt) in proposal.doubts() {
        eprintln!("warning: {named}: column `{column}`: {doubt}: check its line in sources.toml");
    }
    for column in proposal.rounded() {
        eprintln!("warning: {named}: column `{column}`: nanoseconds of the file are rounded to microseconds");
    }
    for what in proposal.unread() {
        eprintln!("warning: {named}: not read: {what}");
    }
    for (line, why) in proposal.broken() {
        eprintln!("warning: {named}: line {line} is no record and will be rejected: {why}");
    }
    let name = name.unwrap_or_else(|| proposal.source_name(&called));
    Ok(Proposed { text: proposal.to_toml(&name, &root(folder), pattern), name, folder: folder.to_owned() })
}

/// Shows a proposal, and reads a file by it.
async fn show_proposal(global: &Global, path: &Path, name: Option<String>) -> Result<()> {
    let root = |folder: &Path| Ok::<_, Error>(Root::of(home(global)?, folder));
    let wanted = |folder: &Path| root(folder).map_or_else(|_| folder.to_string_lossy().into_owned(), |root| root.text);
    let Proposed { name, text, folder } = propose(path, name, &wanted)?;
    let root = root(&folder)?;
    output::data(&text);
    root.advice.iter().for_each(|advice| eprintln!("{advice}"));
    let files = ProjectFiles::from([
        ("project.toml".to_owned(), "name = \"proposal\"\n[defaults]\nowner = \"nobody\"\n".to_owned()),
        ("sources.toml".to_owned(), text),
    ]);
    let project = Project::parse(&files)?.with_variables(&root.values);
    let settings = setup::settings(global)?;
    let bench = setup::workbench_of(project, global, &settings).await?;
    let sample = sample(&bench, &name, SampleSize { files: 1, rows: 0 }).await?;
    eprint!("{}", summary(&name, &sample));
    Ok(())
}

/// How sources.toml says where files lie: by a variable of the project, so that both may move and differ between environments.
struct Root {
    text: String,
    /// Of the variable in the text.
    values: BTreeMap<String, String>,
    /// What to add to project.toml.
    advice: Option<String>,
}

impl Root {
    fn of(home: &Home, folder: &Path) -> Self {
        let absolute = folder.to_string_lossy().into_owned();
        if !home.has_project() {
            return Self { text: absolute, values: BTreeMap::new(), advice: None };
        }
        let variables = home.folders();
        let above = variables.iter().filter(|(_, path)| folder.starts_with(path));
        if let Some((name, path)) = above.max_by_key(|(_, path)| path.components().count()) {
            let below = folder.strip_prefix(path).map(|rest| rest.to_string_lossy().into_owned()).unwrap_or_default();
            let text = if below.is_empty() { format!("${name}") } else { format!("${name}/{below}") };
            let value = path.to_string_lossy().into_owned();
            return Self { text, values: BTreeMap::from([(name.clone(), value)]), advice: None };
        }
        let free = |name: &String| !variables.contains_key(name) && !home.declares(name);
        let numbered = (2..).map(|number| format!("raw{number}"));
        let name = std::iter::once("raw".to_owned()).chain(numbered).find(free).unwrap_or_default();
        let default = toml::Value::String(relative(folder, home.folder()));
        let advice = format!(
            "note: no variable of the project leads to {absolute}: add to project.toml, below [variables]\n\
             {name} = {{ type = \"path\", default = {default} }}"
        );
        Self { text: format!("${name}"), values: BTreeMap::from([(name, absolute)]), advice: Some(advice) }
    }
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
        "\nraw.{name}: {} of {} read, {} kept, {} rejected\n",
        sample.files_read,
        output::plural(sample.files as u64, "file"),
        output::plural(sample.kept, "row"),
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
