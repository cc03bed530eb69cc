//! Roots of file sources: a folder that does not exist is more likely a typing error than a source without files.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use object_store::ObjectStore;
use pulse_core::name::TableName;
use pulse_core::project::Project;
use pulse_core::sources::FileSource;
use pulse_core::{Error, ErrorKind, Result};
use url::Url;

use super::Workbench;
use super::external::{existing, external_table, warning};
use crate::landing::{LandingFolder, landing_root};
use crate::source::file::{Listing, list};
use crate::store::{Links, Stores, folder_url, store_path};

/// Refuses jobs over sources whose local root does not exist. In an object store, an empty folder and a missing one are
/// the same: there only the feeds' warnings report that nothing was found.
///
/// # Errors
/// `Invalid` with a variable that has no value, or with the source, its root, and the variables in it.
pub fn check_roots(project: &Project, jobs: &[TableName]) -> Result<()> {
    project.check_values(jobs)?;
    for job in jobs {
        for name in project.job(job)?.query.files() {
            // Landed rows of a database are below the lake.
            if let (Some(source), None) = (project.sources.files.get(name), project.sources.database_of(name)) {
                existing_root(name, source)?;
            }
        }
    }
    Ok(())
}

/// External inputs of these jobs that are missing or empty without failing a run. Skips those with undefined variables.
///
/// # Errors
/// `Invalid` for a job that the project does not have, otherwise by the kind of the store's error.
pub async fn empty_sources(stores: &Stores, project: &Project, jobs: &[TableName]) -> Result<Vec<String>> {
    let (mut files, mut tables) = (BTreeSet::new(), BTreeSet::new());
    for job in jobs {
        let query = &project.job(job)?.query;
        files.extend(query.files().into_iter().map(str::to_owned));
        tables.extend(query.tables());
    }
    let mut warnings = Vec::new();
    for name in &files {
        // A run reports whether a database exists, and its contents.
        let is_read =
            |source: &&FileSource| source.check_root(name).is_ok() && project.sources.database_of(name).is_none();
        let Some(source) = project.sources.files.get(name).filter(is_read) else { continue };
        let found = match existing_root(name, source) {
            Ok(root) => list(client(stores, &root, source)?.as_ref(), &store_path(&root)?, source)
                .await
                .map(|found| found.warnings),
            Err(error) => Ok(vec![error.message().to_owned()]),
        };
        warnings.extend(found?.into_iter().map(|warning| match warning.starts_with("raw.") {
            true => warning,
            false => format!("raw.{name}: {warning}"),
        }));
    }
    for name in &tables {
        let declared = project.external(name).filter(|declared| declared.check_location(name).is_ok());
        let Some(declared) = declared else { continue };
        let table = external_table(stores, name, declared).await?;
        warnings.extend(match existing(&table, declared).await {
            Ok(snapshot) => warning(&snapshot, &table),
            // Jobs that read it cannot be checked, which is reported for each of them.
            Err(error) if error.kind() == ErrorKind::Invalid => None,
            Err(error) => return Err(error),
        });
    }
    Ok(warnings)
}

/// A source of files, by its name without `raw.`.
///
/// # Errors
/// `Invalid`, listing the declared sources.
pub(super) fn declared_files<'a>(project: &'a Project, name: &str) -> Result<&'a FileSource> {
    project.sources.files.get(name).ok_or_else(|| {
        let known: Vec<&str> = project.sources.files.keys().map(String::as_str).collect();
        Error::invalid(format!(
            "sources.toml has no source of files `{name}`; it has {}",
            if known.is_empty() { "none".to_owned() } else { known.join(", ") }
        ))
    })
}

fn client(stores: &Stores, root: &Url, source: &FileSource) -> Result<Arc<dyn ObjectStore>> {
    stores.source_client(root, if source.follow_links { Links::Followed } else { Links::Left })
}

/// The files of a source and their root. For a database, those that were landed by this run, or the newest.
///
/// # Errors
/// As [`existing_root`], [`list`] and [`Workbench`]'s lake; `Data` when landed files are gone.
pub(super) async fn listed(bench: &Workbench, name: &str, source: &FileSource) -> Result<(Url, Listing)> {
    let Some((database, declared, table)) = bench.project.sources.database_of(name) else {
        let root = existing_root(name, source)?;
        let listing = list(client(bench.lake.stores(), &root, source)?.as_ref(), &store_path(&root)?, source).await?;
        return Ok((root, listing));
    };
    let root = landing_root(&bench.lake, database, name)?;
    let manifest = match bench.databases.landed(name) {
        Some(landed) => Some(landed.clone()),
        None => {
            let definition = table.definition(&declared.address(database)?);
            LandingFolder::new(&bench.lake, database, name)?.newest().await?.filter(|m| m.definition == definition)
        }
    };
    let Some(manifest) = manifest else {
        let warnings = vec![format!("database `{database}` was not read yet")];
        return Ok((root, Listing { files: Vec::new(), warnings }));
    };
    let mut listing = list(client(bench.lake.stores(), &root, source)?.as_ref(), &store_path(&root)?, source).await?;
    listing.files.retain(|file| manifest.holds(&file.path));
    match manifest.files.iter().find(|landed| !listing.files.iter().any(|file| file.path == landed.path)) {
        Some(lost) => Err(Error::data(format!(
            "raw.{name}: `{}` below {root} is gone, which holds {} rows of database `{database}`; remove the folder to read the \
             database again",
            lost.path, lost.rows
        ))),
        None => Ok((root, listing)),
    }
}

/// The URL of a source's root.
///
/// # Errors
/// As [`check_roots`].
pub(super) fn existing_root(name: &str, source: &FileSource) -> Result<Url> {
    source.check_root(name)?;
    let base = std::env::current_dir().map_err(|e| Error::unavailable("no current folder").with_source(e))?;
    let root = folder_url(&source.root, &base)?;
    match root.to_file_path() {
        Ok(path) if root.scheme() == "file" && !path.is_dir() => Err(missing(name, source, &plain(&path))),
        _ => Ok(root),
    }
}

fn missing(name: &str, source: &FileSource, path: &Path) -> Error {
    let what = if path.exists() { "is not a folder" } else { "does not exist" };
    let path = path.display();
    let written = source.written_root.as_deref().unwrap_or(&source.root);
    let place = match source.root == path.to_string() {
        true => String::new(),
        false => format!(" ({path})"),
    };
    let remedy = match pulse_core::project::variables_of(written).as_slice() {
        [] => "correct `root` in sources.toml".to_owned(),
        variables => {
            let options = variables.iter().map(|name| format!("`--var {name}`")).collect::<Vec<_>>().join(" or ");
            format!("its root is `{written}`; correct {options}, or `root` in sources.toml")
        }
    };
    Error::invalid(format!("raw.{name}: folder `{}`{place} {what}; {remedy}", source.root))
}

/// Removes a trailing slash, which would hide that the path is a file.
fn plain(path: &Path) -> PathBuf {
    path.components().collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use pulse_core::project::ProjectFiles;

    use super::*;

    fn project(root: &str, raw: &str) -> Result<Project> {
        let sources = format!(
            "[files.s]\nroot = \"{root}\"\ncolumns = [{{ name = \"x\", type = \"bigint\" }}]\n[files.s.feed.a]\n\
             path = \"*.csv\"\nformat = {{ csv = {{}} }}\n"
        );
        let text = |path: &str, text: &str| (path.to_owned(), text.to_owned());
        let files = ProjectFiles::from([
            text("project.toml", "name = \"t\"\n[defaults]\nowner = \"t\"\n"),
            text("sources.toml", &sources),
            text("bronze/s/job.toml", "grain = [\"x\"]\n[sink.append]\n"),
            text("bronze/s/query.sql", "select x from raw.s"),
        ]);
        let project = Project::parse(&files)?;
        let values: BTreeMap<String, String> =
            project.variables().into_iter().map(|name| (name, raw.to_owned())).collect();
        Ok(project.with_variables(&values))
    }

    fn check(root: &str, raw: &str) -> Result<()> {
        check_roots(&project(root, raw)?, &["bronze.s".parse()?])
    }

    #[tokio::test]
    async fn what_is_missing_or_empty_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().to_str().unwrap();
        let empty = async |root: &str| {
            empty_sources(&Stores::default(), &project(root, path).unwrap(), &["bronze.s".parse().unwrap()])
                .await
                .unwrap()
        };
        let missing = empty("$raw/tpyo").await;
        assert!(
            missing.len() == 1 && missing[0].contains("raw.s: folder `") && missing[0].contains("--var raw"),
            "{missing:?}"
        );
        let none = empty("$raw").await;
        assert_eq!(none, [format!("raw.s: feed `a` has no files: nothing below `{path}` matches `*.csv`")]);
        std::fs::write(folder.path().join("a.csv"), "x\n1\n").unwrap();
        assert_eq!(empty("$raw").await, Vec::<String>::new());
    }

    #[test]
    fn a_root_that_does_not_exist_is_named_with_its_variable() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().to_str().unwrap();
        std::fs::write(folder.path().join("file"), "x").unwrap();
        std::fs::create_dir(folder.path().join("100%25 #?")).unwrap();
        for (root, raw, wrong) in [
            ("$raw", path.to_owned(), None),
            ("$raw/100%25 #?", path.to_owned(), None),
            ("$raw", "s3://nobody-looks-there/x".to_owned(), None),
            ("$raw/file", path.to_owned(), Some(vec!["is not a folder", "`--var raw`"])),
            ("$raw/tpyo", path.to_owned(), Some(vec!["raw.s: folder `", "/tpyo` does not exist", "`$raw/tpyo`"])),
            ("$raw", format!("file://{path}/tpyo"), Some(vec!["does not exist", "`--var raw`"])),
            ("tpyo", String::new(), Some(vec!["`tpyo` (/", "does not exist; correct `root` in sources.toml"])),
        ] {
            let answer = check(root, &raw);
            let Some(texts) = wrong else {
                answer.unwrap();
                continue;
            };
            let error = answer.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Invalid);
            for text in texts {
                assert!(error.message().contains(text), "{text}: {error}");
            }
        }
    }
}
