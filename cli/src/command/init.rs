//! `pulse init`: the files of a new project.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use pulse_core::project::Project;
use pulse_core::sources::{ColumnType, FileSource};
use pulse_core::{Error, Result};

use super::source::{Proposed, propose};
use crate::args::InitOptions;
use crate::output::plural;

/// Path below the project's folder, and text.
type Files = Vec<(String, String)>;

/// The project of `--example`.
const EXAMPLE: [(&str, &str); 10] = [
    ("project.toml", include_str!("../../example/project.toml")),
    ("sources.toml", include_str!("../../example/sources.toml")),
    ("profiles/prod.toml", include_str!("../../example/profiles/prod.toml")),
    ("inbox/sales_berlin.csv", include_str!("../../example/inbox/sales_berlin.csv")),
    ("inbox/sales_paris.csv", include_str!("../../example/inbox/sales_paris.csv")),
    ("bronze/sales/job.toml", include_str!("../../example/bronze/sales/job.toml")),
    ("bronze/sales/query.sql", include_str!("../../example/bronze/sales/query.sql")),
    ("gold/revenue/job.toml", include_str!("../../example/gold/revenue/job.toml")),
    ("gold/revenue/query.sql", include_str!("../../example/gold/revenue/query.sql")),
    ("gold/revenue/tests/two_cities.toml", include_str!("../../example/gold/revenue/tests/two_cities.toml")),
];

/// Columns that the gold job of a proposal sums up.
const MEASURES: usize = 3;

pub(crate) fn init(options: &InitOptions) -> Result<ExitCode> {
    let folder = &options.folder;
    let (files, table) = match (&options.from, options.example) {
        (Some(file), _) => from_file(folder, file)?,
        (None, true) => {
            (EXAMPLE.map(|(path, text)| (path.to_owned(), text.to_owned())).into(), Some("gold.revenue".to_owned()))
        }
        (None, false) => (empty(folder)?, None),
    };
    write(folder, files)?;
    options.from.iter().filter(|file| file.is_file()).for_each(|file| eprintln!("{}", of_one_file(file)));
    next_steps(folder, table.as_deref());
    Ok(ExitCode::SUCCESS)
}

/// Writes nothing where one of the files is there.
fn write(folder: &Path, mut files: Files) -> Result<()> {
    files.push((".gitignore".to_owned(), "lake/\nlake-*/\n".to_owned()));
    files.retain(|(path, _)| path != ".gitignore" || !folder.join(path).exists());
    if let Some((path, _)) = files.iter().find(|(path, _)| folder.join(path).exists()) {
        let path = folder.join(path);
        return Err(Error::invalid(format!("{} is there; name an empty folder: `pulse init FOLDER`", path.display())));
    }
    for (path, text) in &files {
        let path = folder.join(path);
        let failed = |e| Error::unavailable(format!("{} cannot be written", path.display())).with_source(e);
        path.parent().map_or(Ok(()), std::fs::create_dir_all).map_err(failed)?;
        std::fs::write(&path, text).map_err(failed)?;
    }
    let written: Vec<&str> = files.iter().map(|(path, _)| path.as_str()).collect();
    eprintln!("{} in {}: {}", plural(written.len() as u64, "file"), folder.display(), written.join(", "));
    Ok(())
}

/// How a source that was made from one file reads others.
fn of_one_file(file: &Path) -> String {
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    let ending = name.split_once('.').map_or_else(String::new, |(_, ending)| format!(".{ending}"));
    format!("sources.toml reads {name} alone: write `path = \"*{ending}\"` there to read all such files of its folder")
}

fn next_steps(folder: &Path, table: Option<&str>) {
    let mut steps = Vec::new();
    if folder != Path::new(".") {
        steps.push(format!("cd {}", folder.display()));
    }
    match table {
        Some(table) => {
            steps.push("pulse run --all".to_owned());
            steps.push(format!("pulse query \"select * from {table}\""));
        }
        None => steps.push("pulse source infer FILE >> sources.toml    # describe the files that you have".to_owned()),
    }
    eprintln!("next:");
    steps.iter().for_each(|step| eprintln!("  {step}"));
}

fn project_toml(folder: &Path, raw: Option<&str>) -> Result<String> {
    let place =
        std::path::absolute(folder).map_err(|e| Error::unavailable("there is no current folder").with_source(e))?;
    let name = place.file_name().map_or_else(|| "project".to_owned(), |name| name.to_string_lossy().into_owned());
    let owner = std::env::var("USER").unwrap_or_else(|_| "me".to_owned());
    let mut text = format!(
        "name = {}\n# Tables lie here. The folder is relative to this file.\nlake = \"lake\"\n\n[defaults]\nowner = {}\n",
        quoted(&name),
        quoted(&owner)
    );
    if let Some(raw) = raw {
        text.push_str(&format!(
            "\n[variables]\nraw = {{ type = \"path\", default = {}, description = \"Folder of the files.\" }}\n",
            quoted(raw)
        ));
    }
    Ok(text)
}

fn empty(folder: &Path) -> Result<Files> {
    let sources = "# What files there are and what is in them: `pulse source infer FILE` proposes a source.\n";
    Ok(vec![("project.toml".to_owned(), project_toml(folder, None)?), ("sources.toml".to_owned(), sources.to_owned())])
}

/// A source for one file, a bronze job that types its records, and a gold job over that.
fn from_file(folder: &Path, file: &Path) -> Result<(Files, Option<String>)> {
    let Proposed { name, folder: raw, text } = propose(file, None, &|_| "$raw".to_owned())?;
    let project = project_toml(folder, Some(&relative(&raw, folder)))?;
    let parsed = Project::parse(
        &[("project.toml", &project), ("sources.toml", &text)].map(|(p, t)| (p.to_owned(), t.clone())).into(),
    )?;
    let source = parsed.sources.files.get(&name).ok_or_else(|| Error::internal("a proposal has its source"))?;
    let gold = Gold::over(source);
    let table = format!("gold.{name}_summary");
    let bronze = format!("bronze/{name}");
    let gold_folder = format!("gold/{name}_summary");
    let files = vec![
        ("project.toml".to_owned(), project),
        ("sources.toml".to_owned(), text),
        (
            format!("{bronze}/job.toml"),
            "description = \"One record of a file, typed.\"\ngrain = [\"source_file\", \"line\"]\n\n[sink.append]\n"
                .to_owned(),
        ),
        (format!("{bronze}/query.sql"), bronze_query(&name, source)),
        (format!("{gold_folder}/job.toml"), gold.manifest()),
        (format!("{gold_folder}/query.sql"), gold.query(&name)),
    ];
    Ok((files, Some(table)))
}

fn bronze_query(name: &str, source: &FileSource) -> String {
    let columns = source.columns.iter().map(|column| identifier(&column.name));
    let columns: Vec<String> = columns.chain(["source_file".to_owned(), "line".to_owned()]).collect();
    format!("select\n    {}\nfrom raw.{name}\n", columns.join(",\n    "))
}

/// A first summary: rows, least and greatest values, by the first column that looks like a name.
struct Gold {
    by: Option<String>,
    measures: Vec<String>,
}

impl Gold {
    fn over(source: &FileSource) -> Self {
        let of = |is: fn(&ColumnType) -> bool| {
            source.columns.iter().filter(move |column| is(&column.data_type)).map(|column| column.name.clone())
        };
        let by = of(|data_type| *data_type == ColumnType::String)
            .chain(of(|data_type| *data_type == ColumnType::Date))
            .next();
        let measures = of(|data_type| {
            matches!(
                data_type,
                ColumnType::Int
                    | ColumnType::Bigint
                    | ColumnType::Double
                    | ColumnType::Decimal { .. }
                    | ColumnType::Timestamp
            )
        });
        Self { by, measures: measures.take(MEASURES).collect() }
    }

    fn manifest(&self) -> String {
        let grain = self.by.clone().unwrap_or_else(|| "records".to_owned());
        format!(
            "description = \"A first summary of the records.\"\ngrain = [{}]\n\n[sink.overwrite]\n\n[[expect]]\n\
             name = \"there are records\"\ncheck = \"records > 0\"\non_fail = \"fail\"\n",
            quoted(&grain)
        )
    }

    fn query(&self, name: &str) -> String {
        let by = self.by.as_deref().map(identifier);
        let mut columns: Vec<String> = by.iter().cloned().collect();
        columns.push("count(*) as records".to_owned());
        for measure in &self.measures {
            let column = identifier(measure);
            for function in ["min", "max"] {
                columns.push(format!("{function}({column}) as {}", identifier(&format!("{function}_{measure}"))));
            }
        }
        let mut text = format!("select\n    {}\nfrom bronze.{name}\n", columns.join(",\n    "));
        if let Some(by) = by {
            text.push_str(&format!("where {by} is not null\ngroup by {by}\n"));
        }
        text
    }
}

/// As SQL names a column.
fn identifier(name: &str) -> String {
    let is_plain = name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
        && name.bytes().next().is_some_and(|byte| !byte.is_ascii_digit());
    match is_plain && !KEYWORDS.contains(&name) {
        true => name.to_owned(),
        false => format!("\"{}\"", name.replace('"', "\"\"")),
    }
}

/// Plain names that SQL reads otherwise.
const KEYWORDS: [&str; 24] = [
    "all", "and", "as", "by", "case", "cross", "end", "from", "group", "having", "in", "interval", "is", "join",
    "limit", "not", "null", "on", "or", "order", "select", "union", "when", "where",
];

fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

/// A folder as the project names it: relative where it lies in or directly around the project's folder.
pub(super) fn relative(place: &Path, folder: &Path) -> String {
    let project = std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
    let relative = match (place.strip_prefix(&project), project.parent()) {
        (Ok(below), _) if below.as_os_str().is_empty() => PathBuf::from("."),
        (Ok(below), _) => below.to_owned(),
        (Err(_), Some(parent)) => match place.strip_prefix(parent) {
            Ok(beside) => Path::new("..").join(beside),
            Err(_) => place.to_owned(),
        },
        (Err(_), None) => place.to_owned(),
    };
    let text = relative.to_string_lossy();
    text.trim_end_matches('/').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_are_relative_near_the_project() {
        let relative = |place: &str| relative(Path::new(place), Path::new("/home/me/shop"));
        assert_eq!(relative("/home/me/shop"), ".");
        assert_eq!(relative("/home/me/shop/inbox"), "inbox");
        assert_eq!(relative("/home/me"), "..");
        assert_eq!(relative("/home/me/data/x"), "../data/x");
        assert_eq!(relative("/mnt/data"), "/mnt/data");
    }

    #[test]
    fn names_are_quoted_where_sql_needs_it() {
        assert_eq!(
            ["price", "Price", "a b", "order", "1st", "x\"y"].map(identifier),
            ["price", "\"Price\"", "\"a b\"", "\"order\"", "\"1st\"", "\"x\"\"y\""]
        );
    }
}
