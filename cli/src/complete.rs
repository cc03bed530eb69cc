//! Names that a shell completes: those of the project and the lake that the words before name. The shell calls the binary for them, so
//! that they are never older than the files. A project with mistakes is read as far as its files' names go, and whatever cannot be
//! read has no names: nobody wants an error for a tabulator.

use std::collections::BTreeSet;
use std::path::Path;

use clap::{Arg, Command, CommandFactory as _, FromArgMatches as _, ValueEnum};
use clap_complete::engine::{ArgValueCandidates, CompletionCandidate};
use clap_complete::env::{Bash, CompleteEnv, EnvCompleter, Fish, Zsh};
use pulse_core::project::ProjectFiles;
use pulse_core::{Error, Result};

use crate::args::{Arguments, Global};
use crate::home::{home, project_text};

/// The shell sets it to its name. It has another beginning than variables of settings.
const VARIABLE: &str = "_PULSE_COMPLETE";
const BINARY: &str = "pulse";

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Shell {
    Bash,
    Zsh,
    Fish,
}

/// Answers a shell that asks for names, and ends the process then.
pub(crate) fn answer() {
    CompleteEnv::with_factory(|| completing(Arguments::command())).var(VARIABLE).bin(BINARY).complete();
}

/// What a shell evaluates once, so that it asks from then on.
pub(crate) fn script(shell: Shell) -> Result<String> {
    let shell: &dyn EnvCompleter = match shell {
        Shell::Bash => &Bash,
        Shell::Zsh => &Zsh,
        Shell::Fish => &Fish,
    };
    let mut script = Vec::new();
    let written = shell.write_registration(VARIABLE, BINARY, BINARY, BINARY, &mut script);
    written.map_err(|e| Error::internal("a script for completions cannot be written").with_source(e))?;
    String::from_utf8(script).map_err(|e| Error::internal("a script for completions is text").with_source(e))
}

/// Which names an argument takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Names {
    Jobs,
    /// Of the lake, and of jobs that have not run.
    Tables,
    /// Without `raw.`.
    Files,
    /// Whatever the graph shows.
    Nodes,
    Profiles,
}

/// By the names of arguments, so that new commands have theirs completed without a word here.
fn names_of(path: &[&str], argument: &Arg) -> Option<Names> {
    match (path, argument.get_id().as_str()) {
        (_, "profile") => Some(Names::Profiles),
        (["graph"], "names") => Some(Names::Nodes),
        (["source", ..], "name") if argument.is_positional() => Some(Names::Files),
        (["table", ..], "name" | "names") => Some(Names::Tables),
        (_, "jobs" | "job") => Some(Names::Jobs),
        _ => None,
    }
}

fn completing(command: Command) -> Command {
    completing_below(command, &[])
}

fn completing_below(command: Command, path: &[&str]) -> Command {
    let inner: Vec<String> = command.get_subcommands().map(|inner| inner.get_name().to_owned()).collect();
    let command = command.mut_args(|argument| match names_of(path, &argument) {
        Some(names) => argument.add(ArgValueCandidates::new(move || candidates(names))),
        None => argument,
    });
    inner.iter().fold(command, |command, name| {
        let path = [path, &[name.as_str()]].concat();
        command.mut_subcommand(name, |inner| completing_below(inner, &path))
    })
}

fn candidates(names: Names) -> Vec<CompletionCandidate> {
    let words = words();
    let Some(global) = global_of(&words, unfinished(&words)) else { return Vec::new() };
    let files = project_text(&global).unwrap_or_default();
    let found = match names {
        Names::Jobs => jobs(&files),
        Names::Tables => jobs(&files).into_iter().chain(tables(&global)).collect(),
        Names::Files => raw(&files),
        Names::Nodes => nodes(&files),
        Names::Profiles => profiles(&files),
    };
    found.into_iter().map(CompletionCandidate::new).collect()
}

/// What stands on the line, without the binary's name.
fn words() -> Vec<String> {
    let words = std::env::args_os().skip_while(|word| word != "--").skip(2);
    words.map(|word| word.to_string_lossy().into_owned()).collect()
}

/// The place of the word that is being completed: the shell's, which counts the binary's name, or the last one.
fn unfinished(words: &[String]) -> usize {
    let place = std::env::var("_CLAP_COMPLETE_INDEX").ok().and_then(|place| place.parse::<usize>().ok());
    place.unwrap_or(words.len()).saturating_sub(1)
}

/// Global options of a line that has an unfinished word, and of the environment.
fn global_of(words: &[String], unfinished: usize) -> Option<Global> {
    const OPTIONS: [&str; 4] = ["--project", "--lake", "--profile", "--var"];
    let mut line = vec![BINARY.to_owned()];
    for (place, word) in words.iter().enumerate() {
        let name = word.split_once('=').map_or(word.as_str(), |(name, _)| name);
        if !OPTIONS.contains(&name) {
            continue;
        }
        match (word.contains('='), words.get(place + 1)) {
            (true, _) if place != unfinished => line.push(word.clone()),
            (false, Some(value)) if place + 1 != unfinished => line.extend([word.clone(), value.clone()]),
            (true | false, _) => {}
        }
    }
    line.push("check".to_owned());
    let matches = Arguments::command().try_get_matches_from(line).ok()?;
    let mut global = Arguments::from_arg_matches(&matches).ok()?.global;
    global.add_environment();
    Some(global)
}

type Found = BTreeSet<String>;

fn jobs(files: &ProjectFiles) -> Found {
    let job = |path: &String| {
        let (layer, table) = path.strip_suffix("/job.toml")?.split_once('/')?;
        (!table.contains('/')).then(|| format!("{layer}.{table}"))
    };
    files.keys().filter_map(job).collect()
}

/// Names below a table of sources.toml.
fn sources(files: &ProjectFiles, kind: &str) -> Found {
    let parsed = files.get("sources.toml").and_then(|text| text.parse::<toml::Table>().ok());
    let named = parsed.as_ref().and_then(|sources| sources.get(kind)?.as_table());
    named.map(|named| named.keys().cloned().collect()).unwrap_or_default()
}

/// Sources of files, and tables of databases.
fn raw(files: &ProjectFiles) -> Found {
    let parsed = files.get("sources.toml").and_then(|text| text.parse::<toml::Table>().ok());
    let databases = parsed.as_ref().and_then(|sources| sources.get("databases")?.as_table());
    let tables = databases.into_iter().flat_map(toml::Table::values).filter_map(|one| one.get("tables")?.as_table());
    sources(files, "files").into_iter().chain(tables.flat_map(toml::Table::keys).cloned()).collect()
}

fn nodes(files: &ProjectFiles) -> Found {
    let raw = raw(files).into_iter().map(|name| format!("raw.{name}"));
    let external = sources(files, "tables").into_iter().map(|name| format!("external.{name}"));
    raw.chain(external).chain(jobs(files)).collect()
}

fn profiles(files: &ProjectFiles) -> Found {
    let profile = |path: &String| {
        let name = path.strip_prefix("profiles/")?.strip_suffix(".toml")?;
        (!name.contains('/')).then(|| name.to_owned())
    };
    files.keys().filter_map(profile).collect()
}

/// Of a lake on this machine; asking a store would take too long for a tabulator.
fn tables(global: &Global) -> Found {
    let Ok(home) = home(global) else { return Found::new() };
    let lake = home.lake.strip_prefix("file://").unwrap_or(&home.lake);
    let mut found = Found::new();
    for layer in folders(Path::new(lake)) {
        for table in folders(&Path::new(lake).join(&layer)) {
            if Path::new(lake).join(&layer).join(&table).join("_delta_log").is_dir() {
                found.insert(format!("{layer}.{table}"));
            }
        }
    }
    found
}

fn folders(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter(|entry| entry.path().is_dir()).filter_map(|entry| entry.file_name().into_string().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(paths: &[(&str, &str)]) -> ProjectFiles {
        paths.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect()
    }

    fn found(names: Found) -> Vec<String> {
        names.into_iter().collect()
    }

    #[test]
    fn names_come_from_the_files_also_of_a_project_with_mistakes() {
        let files = files(&[
            ("project.toml", "name = "),
            ("sources.toml", "[files.a]\nwrong = 1\n[files.b]\n[tables.c]\n[databases.d.tables.e]\n"),
            ("profiles/prod.toml", ""),
            ("silver/x/job.toml", "grain = ["),
            ("silver/x/tests/job.toml", ""),
            ("gold/y/job.toml", ""),
            ("gold/z/query.sql", ""),
        ]);
        assert_eq!(found(jobs(&files)), ["gold.y", "silver.x"]);
        assert_eq!(found(raw(&files)), ["a", "b", "e"]);
        assert_eq!(found(nodes(&files)), ["external.c", "gold.y", "raw.a", "raw.b", "raw.e", "silver.x"]);
        assert_eq!(found(profiles(&files)), ["prod"]);
        assert!(nodes(&ProjectFiles::from([("sources.toml".to_owned(), "[".to_owned())])).is_empty());
    }

    #[test]
    fn options_before_the_word_count() {
        let at = |line: &str, unfinished: usize| {
            global_of(&line.split(' ').map(str::to_owned).collect::<Vec<_>>(), unfinished)
                .map(|global| (global.project.map(|path| path.display().to_string()), global.profile))
        };
        let global = |line: &str| at(line, line.split(' ').count() - 1);
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(global("--project p run silver."), Some((some("p"), None)));
        assert_eq!(global("run --profile=prod --project=q gold"), Some((some("q"), some("prod"))));
        // The value is what is being completed.
        assert_eq!(global("run --all --profile pr").map(|(_, profile)| profile), Some(None));
        assert_eq!(global("run --profile=pr").map(|(_, profile)| profile), Some(None));
        // The cursor stands before the option.
        assert_eq!(at("run si --project p", 1), Some((some("p"), None)));
        // Not understood, and no reason to complete nothing.
        assert_eq!(global("run --unknown --project p x"), Some((some("p"), None)));
    }

    #[test]
    fn arguments_of_all_commands_have_names() {
        let mut found = BTreeSet::new();
        fn walk(command: &Command, path: &[&str], found: &mut BTreeSet<String>) {
            for argument in command.get_arguments().filter(|argument| !argument.is_global_set()) {
                if let Some(names) = names_of(path, argument) {
                    found.insert(format!("{} {} {names:?}", path.join(" "), argument.get_id()));
                }
            }
            for inner in command.get_subcommands() {
                walk(inner, &[path, &[inner.get_name()]].concat(), found);
            }
        }
        walk(&Arguments::command(), &[], &mut found);
        for expected in [
            "backfill job Jobs",
            "graph names Nodes",
            "plan jobs Jobs",
            "run jobs Jobs",
            "source preview name Files",
            "submit jobs Jobs",
            "table history name Tables",
            "table vacuum names Tables",
            "test jobs Jobs",
        ] {
            assert!(found.contains(expected), "{expected}: {found:#?}");
        }
        assert!(!found.iter().any(|line| line.starts_with("source infer")), "{found:#?}");
        completing(Arguments::command()).debug_assert();
    }
}
