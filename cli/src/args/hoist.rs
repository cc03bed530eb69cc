//! Global options may stand before and behind the command. Of a name in both places, clap keeps only the values behind it, without
//! a word; here they come together before it is asked.

use std::ffi::OsString;

use clap::Command;

/// The words with global options that have a value moved to the front, in their order. The first word is the binary's name.
pub(super) fn global_first(words: impl IntoIterator<Item = OsString>, command: &Command) -> Vec<OsString> {
    let global = command.get_arguments().filter(|arg| arg.is_global_set() && arg.get_action().takes_values());
    let names: Vec<String> = global.filter_map(|arg| Some(format!("--{}", arg.get_long()?))).collect();
    let mut words = words.into_iter();
    let mut front: Vec<OsString> = words.next().into_iter().collect();
    let mut others = Vec::new();
    while let Some(word) = words.next() {
        if word == "--" {
            others.push(word);
            others.extend(words.by_ref());
            break;
        }
        let text = word.to_string_lossy();
        let (name, has_value) = text.split_once('=').map_or((text.as_ref(), false), |(name, _)| (name, true));
        match names.iter().any(|global| global == name) {
            true if has_value => front.push(word),
            true => front.extend(std::iter::once(word).chain(words.next())),
            false => others.push(word),
        }
    }
    front.extend(others);
    front
}

/// The values in a list such as `raw=/data,venue=New York, USA`. A comma that no name follows belongs to the value before it.
pub(super) fn listed_values(text: &str) -> Vec<String> {
    let begins = |part: &str| part.split_once('=').is_some_and(|(name, _)| is_name(name.trim()));
    let mut values: Vec<String> = Vec::new();
    for part in text.split(',').filter(|_| !text.is_empty()) {
        match values.last_mut() {
            Some(value) if !begins(part) => {
                value.push(',');
                value.push_str(part);
            }
            _ => values.push(part.trim_start().to_owned()),
        }
    }
    values
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_')
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory as _, FromArgMatches as _};

    use super::*;
    use crate::args::Arguments;

    fn parsed(line: &str) -> Result<Arguments, clap::Error> {
        let words = line.split(' ').map(OsString::from);
        let matches = Arguments::command().try_get_matches_from(global_first(words, &Arguments::command()))?;
        Arguments::from_arg_matches(&matches)
    }

    #[test]
    fn values_before_and_behind_the_command_count() {
        for line in [
            "pulse --var a=1 --set x=1 --var=b=2 run --all --var c=3 --set y=2",
            "pulse run --var a=1 --all --set x=1 --var b=2 --var=c=3 --set=y=2",
            "pulse --var a=1 --var b=2 --var c=3 --set x=1 --set y=2 run --all",
        ] {
            let global = parsed(line).unwrap().global;
            assert_eq!(global.variables, ["a=1", "b=2", "c=3"], "{line}");
            assert_eq!(global.settings, ["x=1", "y=2"], "{line}");
        }
    }

    #[test]
    fn an_option_with_one_value_may_stand_only_once() {
        for line in ["pulse --lake a run --all --lake b", "pulse --project a run --project=b"] {
            let error = parsed(line).unwrap_err().to_string();
            assert!(error.contains("cannot be used multiple times"), "{line}: {error}");
        }
        assert_eq!(parsed("pulse run --all --lake b").unwrap().global.lake.as_deref(), Some("b"));
        assert!(parsed("pulse run --lake").is_err());
    }

    /// An unset variable of a script would otherwise name the current folder.
    #[test]
    fn a_place_is_not_empty() {
        for option in ["--lake", "--project", "--profile", "--config"] {
            let words = ["pulse", "run", "--all", option, ""].map(OsString::from);
            let answer = Arguments::command().try_get_matches_from(global_first(words, &Arguments::command()));
            assert!(answer.unwrap_err().to_string().contains("a value is required"), "{option}");
        }
    }

    #[test]
    fn a_comma_is_part_of_a_value() {
        let global = parsed("pulse run --var venue=a,b=9 --var x=1").unwrap().global;
        assert_eq!(global.variables, ["venue=a,b=9", "x=1"]);
        for (text, values) in [
            ("", [].as_slice()),
            ("raw=/data", &["raw=/data"]),
            ("raw=/data,least=2", &["raw=/data", "least=2"]),
            ("venue=New York, USA, least=2", &["venue=New York, USA", "least=2"]),
            ("odd", &["odd"]),
        ] {
            assert_eq!(listed_values(text), values, "{text}");
        }
    }

    #[test]
    fn what_is_behind_two_dashes_stays() {
        let words = ["pulse", "query", "--lake", "l", "--", "--var", "x"].map(OsString::from);
        let sorted = global_first(words, &Arguments::command());
        assert_eq!(sorted, ["pulse", "--lake", "l", "query", "--", "--var", "x"]);
    }
}
