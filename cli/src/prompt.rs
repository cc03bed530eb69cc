//! The interactive prompt of `pulse query`: lines with history and completion, statements that end with `;`.

use std::path::PathBuf;

use pulse_core::sql::ends_statement;
use pulse_core::{Error, Result};
use rustyline::completion::{Completer, Pair};
use rustyline::error::ReadlineError;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::history::DefaultHistory;
use rustyline::validate::{ValidationContext, ValidationResult, Validator};
use rustyline::{Context, Editor, Helper};

/// Words that begin lines and clauses.
const KEYWORDS: [&str; 32] = [
    "and",
    "as",
    "asc",
    "avg",
    "between",
    "by",
    "case",
    "cast",
    "count",
    "desc",
    "describe",
    "distinct",
    "else",
    "end",
    "from",
    "group",
    "having",
    "in",
    "is",
    "join",
    "left",
    "like",
    "limit",
    "not",
    "null",
    "on",
    "or",
    "order",
    "select",
    "show tables",
    "sum",
    "where",
];

/// What a person typed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Typed {
    /// One statement or several, which `;` separates; without the last one.
    Statements(String),
    Help,
    Nothing,
    End,
}

pub(crate) struct Prompt {
    editor: Editor<Words, DefaultHistory>,
    history: Option<PathBuf>,
}

impl Prompt {
    /// `names` are completed.
    ///
    /// # Errors
    /// `Unavailable` where the terminal cannot be read line by line.
    pub(crate) fn new(names: Vec<String>) -> Result<Self> {
        let failed = |e: ReadlineError| Error::unavailable("the terminal cannot be read").with_source(e);
        let mut editor = Editor::new().map_err(failed)?;
        editor.set_helper(Some(Words { names }));
        let history = history_file();
        if let Some(path) = &history {
            // Without a history there is none to complain about.
            let _ = editor.load_history(path);
        }
        Ok(Self { editor, history })
    }

    /// Waits for a statement. Ctrl-C forgets what was typed, Ctrl-D ends.
    ///
    /// # Errors
    /// `Unavailable` where the terminal cannot be read.
    pub(crate) fn next(&mut self) -> Result<Typed> {
        match self.editor.readline("pulse> ") {
            Ok(text) => {
                let _ = self.editor.add_history_entry(text.trim());
                Ok(understood(&text))
            }
            Err(ReadlineError::Interrupted) => Ok(Typed::Nothing),
            Err(ReadlineError::Eof) => Ok(Typed::End),
            Err(error) => Err(Error::unavailable("the terminal cannot be read").with_source(error)),
        }
    }

    /// Adds names to those that are completed.
    pub(crate) fn learn(&mut self, names: impl IntoIterator<Item = String>) {
        if let Some(words) = self.editor.helper_mut() {
            words.names.extend(names);
            words.names.sort();
            words.names.dedup();
        }
    }
}

impl Drop for Prompt {
    fn drop(&mut self) {
        if let Some(path) = &self.history {
            let _ = path.parent().map(std::fs::create_dir_all);
            let _ = self.editor.save_history(path);
        }
    }
}

/// Below `$XDG_STATE_HOME` or `~/.local/state`.
fn history_file() -> Option<PathBuf> {
    let state = std::env::var_os("XDG_STATE_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let state = state.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".local/state")))?;
    Some(state.join("pulse/history"))
}

/// What one word, or one or several statements, ask for.
pub(crate) fn understood(text: &str) -> Typed {
    let text = text.trim().trim_end_matches(';').trim_end();
    match text.to_lowercase().as_str() {
        "" => Typed::Nothing,
        "quit" | "exit" | "\\q" | ".quit" | ".exit" => Typed::End,
        "help" | "\\?" | ".help" | "?" => Typed::Help,
        _ => Typed::Statements(text.to_owned()),
    }
}

/// A statement ends with `;`, behind which a comment may stand; commands are one line.
fn is_complete(text: &str) -> bool {
    ends_statement(text) || !matches!(understood(text), Typed::Statements(_))
}

struct Words {
    names: Vec<String>,
}

impl Words {
    /// Where the last word begins, and what may stand there.
    fn candidates(&self, line: &str, position: usize) -> (usize, Vec<String>) {
        let before = &line[..position];
        let start = before
            .char_indices()
            .rev()
            .find(|(_, c)| !(c.is_alphanumeric() || matches!(c, '_' | '.')))
            .map_or(0, |(index, c)| index + c.len_utf8());
        let word = before[start..].to_lowercase();
        if word.is_empty() {
            return (start, Vec::new());
        }
        let known = self.names.iter().map(String::as_str).chain(KEYWORDS);
        (start, known.filter(|name| name.to_lowercase().starts_with(&word)).map(str::to_owned).collect())
    }
}

impl Completer for Words {
    type Candidate = Pair;

    fn complete(&self, line: &str, position: usize, _: &Context<'_>) -> rustyline::Result<(usize, Vec<Pair>)> {
        let (start, found) = self.candidates(line, position);
        Ok((start, found.into_iter().map(|name| Pair { display: name.clone(), replacement: name }).collect()))
    }
}

impl Validator for Words {
    fn validate(&self, context: &mut ValidationContext<'_>) -> rustyline::Result<ValidationResult> {
        Ok(match is_complete(context.input()) {
            true => ValidationResult::Valid(None),
            false => ValidationResult::Incomplete,
        })
    }
}

impl Hinter for Words {
    type Hint = String;
}
impl Highlighter for Words {}
impl Helper for Words {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_ends_with_a_semicolon() {
        assert!(is_complete("select 1;\n") && is_complete("quit") && is_complete("") && is_complete("help"));
        assert!(!is_complete("select 1") && !is_complete("show tables"));
        // One within a text or a comment ends nothing, and a comment may stand behind the last one.
        assert!(!is_complete("select 'a;") && !is_complete("select 1 -- one;") && !is_complete("select /* 1;"));
        assert!(is_complete("select 'a;';") && is_complete("select 1; -- one") && is_complete("select 1;\nselect 2;"));
        assert!(!is_complete("select 1; select 2"));
        assert_eq!(understood(" select 1 ;; "), Typed::Statements("select 1".to_owned()));
        assert_eq!(understood("EXIT;"), Typed::End);
    }

    #[test]
    fn names_and_keywords_are_completed() {
        let words = Words { names: vec!["silver.bars".to_owned(), "silver.sessions".to_owned()] };
        assert_eq!(words.candidates("select * from silver.b", 22), (14, vec!["silver.bars".to_owned()]));
        assert_eq!(words.candidates("SEL", 3), (0, vec!["select".to_owned()]));
        assert_eq!(words.candidates("select ", 7), (7, Vec::new()));
    }
}
