//! Where a project runs and with which values: project.toml, a profile and the command line, in this order.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;

use chrono::NaiveDate;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::functions::{self, Functions, Meanings, Wrong, expand};
use super::variable::{Literal, RUN_DATE, Variable, VariableType, text_of, toml_string};
use super::variables::meant;
use super::written::{Replaced, Written};
use super::{ProjectFiles, ProjectManifest};
use crate::diagnostic::{Diagnostic, closest};
use crate::document::{Document, Step};
use crate::error::{Error, Result};
use crate::sources::ColumnType;
use crate::sql::PARAMETERS;

/// What project.toml says of the place and the values. Mistakes in its other keys are reported with those of the jobs.
#[derive(Debug, Default, Deserialize)]
struct Here {
    #[serde(default)]
    lake: Option<String>,
    #[serde(default)]
    variables: BTreeMap<String, Variable>,
}

/// Keys of job.toml and project.toml whose strings are conditions.
const CONDITIONS: [&str; 2] = ["check", "deleted"];

/// `profiles/<name>.toml`: where and with which values a project runs.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// Folder or URL of the tables. A folder is relative to the project's.
    #[serde(default)]
    pub lake: Option<String>,
    /// Values of variables.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, serde_json::Value>")]
    pub variables: BTreeMap<String, toml::Value>,
    /// Settings, as in pulse.toml.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, serde_json::Value>")]
    pub settings: toml::Table,
}

/// A folder or URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    pub text: String,
    /// A relative path begins at the project's folder, not at the current one.
    pub is_of_project: bool,
}

/// A project's files with values in place of variables, and expressions in place of calls of functions.sql.
#[derive(Debug, Clone, Default)]
pub struct Rendered {
    pub files: ProjectFiles,
    /// By path: a variable that has no value, a value that its type does not hold, or a call with wrong arguments.
    pub wrong: BTreeMap<String, Vec<Diagnostic>>,
    /// By path: files in which something was replaced.
    pub written: BTreeMap<String, Written>,
}

impl Rendered {
    /// An error with its places in the files as they are written.
    #[must_use]
    pub fn as_written(&self, error: Error) -> Error {
        error.at_places(|found| self.written.get(&found.path).map_or_else(|| found.clone(), |file| file.place(found)))
    }
}

/// What the files, a profile and the command line say together.
#[derive(Debug, Clone, Default)]
pub struct Environment {
    pub lake: Option<Place>,
    /// Names of the files whose table `settings` holds settings, the stronger ones last.
    pub settings: Vec<String>,
    declared: BTreeMap<String, Variable>,
    values: BTreeMap<String, Place>,
    functions: Functions,
}

impl Environment {
    /// `given` are the values of the command line.
    ///
    /// # Errors
    /// `Invalid` with what is wrong in project.toml, in the profile or in functions.sql, or with a profile that does not exist.
    pub fn new(
        files: &ProjectFiles,
        profile: Option<&str>,
        given: &BTreeMap<String, String>,
        run_date: NaiveDate,
    ) -> Result<Self> {
        let mut environment = Self::default();
        environment.declare(files, run_date)?;
        if let Some(name) = profile {
            environment.apply_profile(files, name)?;
        }
        for (name, text) in given {
            if let Some(wrong) = environment.misfit(name, text) {
                return Err(Error::invalid(format!("--var {name}={text}: {wrong}")));
            }
            environment.values.insert(name.clone(), Place { text: text.clone(), is_of_project: false });
        }
        if let Some(text) = files.get(functions::FILE) {
            let parsed = Functions::parse(text, &|name| environment.literal(name));
            environment.functions =
                parsed.map_err(|wrong| Error::from_diagnostics(vec![at(functions::FILE, text, wrong)]))?;
        }
        Ok(environment)
    }

    fn declare(&mut self, files: &ProjectFiles, run_date: NaiveDate) -> Result<()> {
        let today =
            Variable { data_type: VariableType::Scalar(ColumnType::Date), default: None, description: String::new() };
        let path = "project.toml";
        let mut declared = BTreeMap::new();
        if let Some(text) = files.get(path) {
            let (manifest, document) = here(path, text).map_err(Error::from_diagnostics)?;
            if let Some(name) = manifest.variables.keys().find(|name| is_reserved(name)) {
                let problem = document
                    .at_key(&["variables".into(), name.as_str().into()], format!("`{name}` has its own meaning"));
                return Err(Error::from_diagnostics(vec![problem.with_help("give the variable another name")]));
            }
            self.lake = manifest.lake.map(|text| Place { text, is_of_project: true });
            if document.holds("settings") {
                self.settings.push(path.to_owned());
            }
            declared = manifest.variables;
            self.declared.clone_from(&declared);
            for (name, variable) in &declared {
                if let Some(value) = &variable.default {
                    let steps = ["variables".into(), name.as_str().into(), "default".into()];
                    self.set(&document, &steps, name, value)?;
                }
            }
        }
        declared.insert(RUN_DATE.to_owned(), today);
        self.declared = declared;
        let run_date = Place { text: run_date.to_string(), is_of_project: true };
        self.values.insert(RUN_DATE.to_owned(), run_date);
        Ok(())
    }

    fn apply_profile(&mut self, files: &ProjectFiles, name: &str) -> Result<()> {
        let path = format!("profiles/{name}.toml");
        let Some(text) = files.get(&path) else { return Err(unknown_profile(files, name)) };
        let parsed = Document::parse::<Profile>(&path, text);
        let (profile, document) = parsed.map_err(Error::from_diagnostics)?;
        if let Some(text) = profile.lake {
            self.lake = Some(Place { text, is_of_project: true });
        }
        if document.holds("settings") {
            self.settings.push(path.clone());
        }
        for (name, value) in &profile.variables {
            self.set(&document, &["variables".into(), name.as_str().into()], name, value)?;
        }
        Ok(())
    }

    /// Takes the value that stands at `steps` of a file.
    fn set(&mut self, document: &Document<'_>, steps: &[Step<'_>], name: &str, value: &toml::Value) -> Result<()> {
        let text = text_of(value).ok_or_else(|| "it is neither text nor a number".to_owned());
        let text = text.and_then(|text| self.misfit(name, &text).map_or(Ok(text), Err));
        let text = text.map_err(|wrong| {
            let problem = document.at_value(steps, format!("the variable `{name}`: {wrong}"));
            Error::from_diagnostics(vec![problem])
        })?;
        self.values.insert(name.to_owned(), Place { text, is_of_project: true });
        Ok(())
    }

    /// Why the declared type of a variable does not hold a value; none where it does, or no type is declared.
    fn misfit(&self, name: &str, text: &str) -> Option<String> {
        match &self.declared.get(name)?.data_type {
            VariableType::Path => None,
            VariableType::Scalar(data_type) => Literal::new(data_type, text).err(),
        }
    }

    /// Values of all variables, as they are written.
    pub fn values(&self) -> &BTreeMap<String, Place> {
        &self.values
    }

    /// Whether project.toml declares the variable, or something gives it a value.
    pub fn declares(&self, name: &str) -> bool {
        self.declared.contains_key(name) || self.values.contains_key(name)
    }

    /// # Errors
    /// `Invalid` with a value for a variable that neither project.toml declares nor a source uses.
    pub fn check_names(&self, of_sources: &BTreeSet<String>) -> Result<()> {
        let declared = self.declared.keys().filter(|name| *name != RUN_DATE);
        let known: BTreeSet<String> = declared.chain(of_sources).cloned().collect();
        match self.values.keys().find(|name| !known.contains(*name) && *name != RUN_DATE) {
            Some(unknown) => Err(Error::invalid(format!(
                "project.toml declares no variable `{unknown}`, and no source uses it: {}",
                meant(unknown, &known)
            ))),
            None => Ok(()),
        }
    }

    /// What the files mean here.
    pub fn render(&self, files: &ProjectFiles) -> Rendered {
        let mut rendered = Rendered::default();
        for (path, text) in files {
            let file = path.rsplit('/').next().unwrap_or(path);
            let outcome = match file {
                "query.sql" => self.query(text).map_err(|wrong| vec![wrong]),
                "job.toml" | "project.toml" => self.manifest(text),
                _ => Ok(Replaced::new(text, [])),
            };
            let replaced = outcome.unwrap_or_else(|wrong| {
                let wrong = wrong.into_iter().map(|wrong| at(path, text, wrong)).collect();
                rendered.wrong.insert(path.clone(), wrong);
                Replaced::new(text, [])
            });
            rendered.files.insert(path.clone(), replaced.text.clone());
            rendered.written.extend(Written::new(text, replaced).map(|written| (path.clone(), written)));
        }
        rendered
    }

    /// A query that is no job's, as [`Self::render`] does it.
    ///
    /// # Errors
    /// As a job's: `Invalid` with the place in the text, which messages call `name`.
    pub fn render_query(&self, name: &str, text: &str) -> Result<(String, Option<Written>)> {
        let replaced = self.query(text).map_err(|wrong| Error::from_diagnostics(vec![at(name, text, wrong)]))?;
        Ok((replaced.text.clone(), Written::new(text, replaced)))
    }

    fn query(&self, text: &str) -> std::result::Result<Replaced, Wrong> {
        let value = |name: &str| self.literal(name).or_else(|| Some(Err(self.unknown(name)?)));
        expand(text, &Meanings { functions: &self.functions, value: &value })
    }

    /// A manifest that is no TOML is left to its parser.
    fn manifest(&self, text: &str) -> std::result::Result<Replaced, Vec<Wrong>> {
        let Ok(document) = DeTable::parse(text) else { return Ok(Replaced::new(text, [])) };
        let (mut edits, mut wrong) = (Vec::new(), Vec::new());
        for (key, value) in document.get_ref() {
            // Declarations are no uses.
            if key.get_ref() != "variables" {
                self.value(key.get_ref(), value, &mut edits, &mut wrong);
            }
        }
        if !wrong.is_empty() {
            wrong.sort_by_key(|wrong| wrong.span.start);
            return Err(wrong);
        }
        edits.sort_by_key(|(span, _)| span.start);
        Ok(Replaced::new(text, edits))
    }

    fn value(
        &self,
        key: &str,
        value: &Spanned<DeValue<'_>>,
        edits: &mut Vec<(Range<usize>, String)>,
        wrong: &mut Vec<Wrong>,
    ) {
        match value.get_ref() {
            DeValue::String(text) => {
                let replacement = match CONDITIONS.contains(&key) {
                    true => self
                        .query(text)
                        .map_err(|wrong| wrong.message)
                        .map(|new| Some(toml_string(&new.text)).filter(|new| *new != toml_string(text))),
                    false => self.string(text),
                };
                match replacement {
                    Ok(replacement) => edits.extend(replacement.map(|new| (value.span(), new))),
                    Err(message) => wrong.push(Wrong { span: value.span(), message }),
                }
            }
            DeValue::Array(items) => items.iter().for_each(|item| self.value(key, item, edits, wrong)),
            DeValue::Table(table) => {
                table.iter().for_each(|(key, value)| self.value(key.get_ref(), value, edits, wrong));
            }
            _ => {}
        }
    }

    /// TOML of a string outside of conditions; none when no variable stands in it.
    fn string(&self, text: &str) -> std::result::Result<Option<String>, String> {
        if let Some(name) = text.strip_prefix('$') {
            match (self.literal(name), self.unknown(name)) {
                (Some(literal), _) => return Ok(Some(literal?.toml)),
                (None, Some(misspelt)) => return Err(misspelt),
                (None, None) => {}
            }
        }
        let mut replaced = String::new();
        let mut rest = text;
        while let Some(dollar) = rest.find('$') {
            let after = &rest[dollar + 1..];
            let length = after.bytes().take_while(|byte| byte.is_ascii_alphanumeric() || *byte == b'_').count();
            replaced.push_str(&rest[..dollar]);
            match self.literal(&after[..length]) {
                Some(literal) => replaced.push_str(&literal?.text),
                None => replaced.push_str(&rest[dollar..=dollar + length]),
            }
            rest = &after[length..];
        }
        replaced.push_str(rest);
        Ok(Some(toml_string(&replaced)).filter(|_| replaced != text))
    }

    /// A name that was probably misspelt. What is not like any other is said where the query is parsed.
    fn unknown(&self, name: &str) -> Option<String> {
        let known = self.declared.keys().map(String::as_str).chain(PARAMETERS);
        let meant = closest(name, known).filter(|meant| *meant != name)?;
        Some(format!("there is no variable `${name}`: did you mean `${meant}`?"))
    }

    /// None where project.toml does not declare the variable.
    fn literal(&self, name: &str) -> Option<std::result::Result<Literal, String>> {
        let variable = self.declared.get(name)?;
        Some(match (&variable.data_type, self.values.get(name)) {
            (VariableType::Path, _) => {
                Err(format!("`${name}` is a path: it stands in `root` and `location` of sources.toml"))
            }
            (VariableType::Scalar(_), None) => Err(format!(
                "the variable `{name}` has no value: pass `--var {name}=..`, name a `--profile` that has it, or set its `default` in \
                 project.toml"
            )),
            (VariableType::Scalar(data_type), Some(value)) => {
                Literal::new(data_type, &value.text).map_err(|wrong| format!("the variable `{name}`: {wrong}"))
            }
        })
    }
}

/// # Errors
/// All mistakes of project.toml, where one is about the place or the values.
fn here<'t>(path: &'t str, text: &'t str) -> std::result::Result<(Here, Document<'t>), Vec<Diagnostic>> {
    Document::parse::<Here>(path, text).map_err(|some| match Document::parse::<ProjectManifest>(path, text) {
        Err(all) => all,
        Ok(_) => some,
    })
}

fn is_reserved(name: &str) -> bool {
    name == RUN_DATE || PARAMETERS.contains(&name)
}

fn at(path: &str, text: &str, wrong: Wrong) -> Diagnostic {
    Diagnostic::new(path, &Arc::from(text), wrong.span, wrong.message)
}

fn unknown_profile(files: &ProjectFiles, name: &str) -> Error {
    let known = |path: &String| Some(path.strip_prefix("profiles/")?.strip_suffix(".toml")?.to_owned());
    let known = files.keys().filter_map(known).collect();
    Error::invalid(format!("the project has no profile `{name}` (profiles/{name}.toml): {}", meant(name, &known)))
}

#[cfg(test)]
mod tests;
