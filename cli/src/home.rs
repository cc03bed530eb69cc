//! The project's folder, its lake, profile and variables: what options, environment and project.toml say together.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use chrono::Utc;
use pulse_core::project::{Environment, Parsed, Place, Project, ProjectFiles, Rendered, Written};
use pulse_core::{Error, Result};

use crate::args::Global;
use crate::setup::{here, pairs};

/// Folder of the jobs below the folder of a repository.
const JOBS: &str = "jobs";
const PROJECT_FILE: &str = "project.toml";
/// Name of the lake's folder where nothing says another one.
const LAKE: &str = "lake";
/// Levels below the project's folder that can hold its files, and one more, so that a job which lies too deep is reported.
const DEPTH: usize = 4;
/// A folder of these names tells a lake and a table.
const LEDGER: &str = "_pulse";
const TABLE_LOG: &str = "_delta_log";

/// Read once for each process, so that all parts of a command see the same.
#[derive(Debug, Clone)]
pub(crate) struct Home {
    /// Folder or URL of the tables, relative to the current folder or absolute.
    pub(crate) lake: String,
    folder: PathBuf,
    environment: Environment,
    /// As they are written.
    files: ProjectFiles,
    /// With values in place of variables.
    rendered: Rendered,
}

/// What the options mean here.
///
/// # Errors
/// `Invalid` with what is wrong in project.toml, the profile or functions.sql, or with the value of a variable.
pub(crate) fn home(global: &Global) -> Result<&Home> {
    if let Some(home) = global.home.get() {
        return Ok(home);
    }
    let home = Home::read(global)?;
    Ok(global.home.get_or_init(|| home))
}

/// The project's files as they are written, whatever is wrong in them; none where there is no project.
///
/// # Errors
/// `Invalid` where a file cannot be read.
pub(crate) fn project_text(global: &Global) -> Result<ProjectFiles> {
    text_below(&folder_of(global)?)
}

/// The project's folder, whether there is one or not.
///
/// # Errors
/// `Unavailable` where there is no current folder.
pub(crate) fn folder_of(global: &Global) -> Result<PathBuf> {
    match &global.project {
        // The folder of a repository is as good as that of its jobs.
        Some(folder) if !folder.join(PROJECT_FILE).is_file() && folder.join(JOBS).join(PROJECT_FILE).is_file() => {
            Ok(folder.join(JOBS))
        }
        Some(folder) => Ok(folder.clone()),
        None => Ok(nearest_project(&here()?)),
    }
}

fn text_below(folder: &Path) -> Result<ProjectFiles> {
    if folder.is_dir() { project_files(folder) } else { Ok(ProjectFiles::new()) }
}

impl Home {
    fn read(global: &Global) -> Result<Self> {
        let folder = folder_of(global)?;
        let files = text_below(&folder)?;
        let given = pairs(&global.variables, "--var")?;
        let environment = Environment::new(&files, global.profile.as_deref(), &given, Utc::now().date_naive())?;
        let lake = match (&global.lake, &environment.lake) {
            (Some(lake), _) => lake.clone(),
            (None, Some(place)) => resolved(place, &folder)?,
            (None, None) => beside(&folder)?.join(LAKE).to_string_lossy().into_owned(),
        };
        let rendered = environment.render(&files);
        Ok(Self { lake, folder, environment, files, rendered })
    }

    /// Whether there is one: a lake can be looked after where its project is not.
    pub(crate) fn has_project(&self) -> bool {
        self.files.contains_key(PROJECT_FILE)
    }

    /// The project's files with values in place of variables, as far as they have one.
    ///
    /// # Errors
    /// `Invalid` where its folder does not exist.
    pub(crate) fn files(&self) -> Result<&ProjectFiles> {
        match self.folder.is_dir() {
            true => Ok(&self.rendered.files),
            false => Err(Error::invalid(format!(
                "there is no project: {} is no folder; name it with --project, or make one with `pulse init`",
                self.folder.display()
            ))),
        }
    }

    /// A query at hand with values in place of variables, and expressions in place of calls of functions.sql.
    ///
    /// # Errors
    /// `Invalid` with the place in the text, which messages call `name`.
    ///
    /// # Errors
    /// `Invalid` for a variable without a value, and for `--var` of a name that the project does not have.
    pub(crate) fn render_query(&self, name: &str, text: &str) -> Result<(String, Option<Written>)> {
        // Queries run beside mistakes in the project, and without one.
        let parsed = self.parsed_files();
        if let Ok(Parsed { project, sources: None, .. }) = parsed {
            self.environment.check_names(&project.variables())?;
        }
        self.environment.render_query(name, text)
    }

    /// The jobs that are in order, and the mistakes of the others.
    ///
    /// # Errors
    /// `Invalid` with mistakes that are not of a single job.
    pub(crate) fn parsed(&self) -> Result<Parsed> {
        let mut parsed = self.parsed_files()?;
        // A source with a mistake may be the one that uses a variable.
        let project = match parsed.sources {
            None => self.with_values(parsed.project)?,
            Some(_) => self.with_places(parsed.project)?,
        };
        for error in parsed.mistakes.values_mut() {
            *error = self.as_written(std::mem::replace(error, Error::invalid("")));
        }
        Ok(Parsed { project, ..parsed })
    }

    fn parsed_files(&self) -> Result<Parsed> {
        Parsed::with_unrendered(self.files()?, &self.rendered.wrong).map_err(|error| self.as_written(error))
    }

    /// An error with its places in the files as they are written, without the values that stand in place of variables.
    pub(crate) fn as_written(&self, error: Error) -> Error {
        self.rendered.as_written(error)
    }

    fn with_values(&self, project: Project) -> Result<Project> {
        self.environment.check_names(&project.variables())?;
        self.with_places(project)
    }

    fn with_places(&self, project: Project) -> Result<Project> {
        Ok(project.with_variables(&self.places_of(&project)?))
    }

    /// Values of the variables in sources.toml: folders and URLs, and parts of the URLs of databases.
    pub(crate) fn places(&self) -> Result<BTreeMap<String, String>> {
        self.places_of(&self.parsed_files()?.project)
    }

    /// The project's folder.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Whether project.toml declares a variable, or something gives it a value.
    pub(crate) fn declares(&self, name: &str) -> bool {
        self.environment.declares(name)
    }

    /// Folders of this machine to which variables lead, without links.
    pub(crate) fn folders(&self) -> BTreeMap<String, PathBuf> {
        let values = self.environment.values().iter();
        let folders = values.filter_map(|(name, place)| {
            let path = Path::new(&resolved(place, &self.folder).ok()?).canonicalize().ok()?;
            path.is_dir().then(|| (name.clone(), path))
        });
        folders.collect()
    }

    fn places_of(&self, project: &Project) -> Result<BTreeMap<String, String>> {
        let mut places = BTreeMap::new();
        let of_urls = project.variables_of_urls();
        for name in project.variables() {
            if let Some(place) = self.environment.values().get(&name) {
                let value = match of_urls.contains(&name) {
                    true => place.text.clone(),
                    false => resolved(place, &self.folder)?,
                };
                places.insert(name, value);
            }
        }
        Ok(places)
    }

    /// Path and text of the files with a table `settings`, the stronger ones last.
    pub(crate) fn settings(&self) -> Vec<(&str, &str)> {
        let text = |path: &'_ String| self.files.get_key_value(path).map(|(path, text)| (path.as_str(), text.as_str()));
        self.environment.settings.iter().filter_map(text).collect()
    }
}

/// The folder of the project at or above a folder; `jobs` where there is none.
fn nearest_project(from: &Path) -> PathBuf {
    // As it is typed most often, so that messages stay short.
    if Path::new(JOBS).join(PROJECT_FILE).is_file() {
        return PathBuf::from(JOBS);
    }
    let candidates = from.ancestors().flat_map(|folder| [folder.to_owned(), folder.join(JOBS)]);
    candidates.into_iter().find(|folder| folder.join(PROJECT_FILE).is_file()).unwrap_or_else(|| PathBuf::from(JOBS))
}

/// The folder that holds the project's.
fn beside(folder: &Path) -> Result<PathBuf> {
    match folder.components().next_back() {
        Some(Component::Normal(_)) => Ok(folder.parent().map(Path::to_owned).unwrap_or_default()),
        _ => Ok(here()?
            .join(folder)
            .canonicalize()
            .ok()
            .and_then(|path| path.parent().map(Path::to_owned))
            .unwrap_or_default()),
    }
}

fn resolved(place: &Place, folder: &Path) -> Result<String> {
    if !place.is_of_project || place.text.contains("://") || Path::new(&place.text).is_absolute() {
        return Ok(place.text.clone());
    }
    let path = folder.join(&place.text);
    let text = path.to_str().ok_or_else(|| Error::invalid(format!("{} is no path in UTF-8", path.display())))?;
    Ok(text.to_owned())
}

/// The text of a file without the mark that some editors write before it.
fn text_of(path: &Path) -> std::io::Result<String> {
    let other = |what| Err(std::io::Error::other(what));
    // To open a pipe would wait for its writer.
    if !std::fs::metadata(path)?.is_file() {
        return other("it is no regular file: remove it, or write it as a file");
    }
    match String::from_utf8(std::fs::read(path)?) {
        Ok(text) => Ok(text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text)),
        Err(_) => other("it is not in UTF-8: save it as UTF-8"),
    }
}

/// TOML and SQL below a folder, as deep as a project reaches.
fn project_files(folder: &Path) -> Result<ProjectFiles> {
    let mut files = ProjectFiles::new();
    let mut folders = vec![(folder.to_owned(), 0)];
    let unreadable = |path: &Path, error: std::io::Error| {
        let hint = if path.is_dir() { "; name the project's folder with --project" } else { "" };
        Error::invalid(format!("{}: {error}{hint}", path.display()))
    };
    while let Some((next, depth)) = folders.pop() {
        let entries = std::fs::read_dir(&next).and_then(Iterator::collect::<std::io::Result<Vec<_>>>);
        let paths: Vec<PathBuf> =
            entries.map_err(|e| unreadable(&next, e))?.into_iter().map(|entry| entry.path()).collect();
        if depth > 0 && paths.iter().any(|path| path.ends_with(LEDGER) || path.ends_with(TABLE_LOG)) {
            // A lake or a table: each run adds files to it, and none of them is of the project.
            continue;
        }
        for path in paths {
            let is_hidden = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
            if path.is_dir() {
                if depth < DEPTH && !is_hidden && !path.ends_with(LEDGER) {
                    folders.push((path, depth + 1));
                }
            } else if path.extension().is_some_and(|extension| extension == "toml" || extension == "sql") {
                let name = path.strip_prefix(folder).unwrap_or(&path).to_string_lossy().replace('\\', "/");
                files.insert(name, text_of(&path).map_err(|e| unreadable(&path, e))?);
            }
        }
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A lake or a table within the project's folder has any number of files, and none of them is read.
    #[test]
    fn what_lies_in_a_lake_is_not_of_the_project() {
        let project = tempfile::tempdir().unwrap();
        let put = |path: &str| {
            let path = project.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "").unwrap();
        };
        ["project.toml", "gold/t/job.toml", "gold/t/query.sql", "gold/t/tests/a.toml"].into_iter().for_each(put);
        ["data/_pulse/x.toml", "data/gold/t/query.sql", "copy/_delta_log/0.sql", "copy/d/a.sql", ".git/a.sql"]
            .into_iter()
            .for_each(put);
        let found = |folder: &Path| project_files(folder).unwrap().into_keys().collect::<Vec<_>>();
        let of_project = ["gold/t/job.toml", "gold/t/query.sql", "gold/t/tests/a.toml", "project.toml"];
        assert_eq!(found(project.path()), of_project);
        // The lake is the project's folder.
        put("_pulse/a/b.toml");
        assert_eq!(found(project.path()), of_project);
    }
}
