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

    #[test]
    fn what_is_behind_two_dashes_stays() {
        let words = ["pulse", "query", "--lake", "l", "--", "--var", "x"].map(OsString::from);
        let sorted = global_first(words, &Arguments::command());
        assert_eq!(sorted, ["pulse", "--lake", "l", "query", "--", "--var", "x"]);
    }
}
