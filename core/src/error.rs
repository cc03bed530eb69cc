//! One error for all crates: a kind per remedy, a message that names what is wrong and what to do.

use std::borrow::Cow;
use std::fmt;

use crate::diagnostic::Diagnostic;
use crate::shown::shown;

pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What can be done about an error. Retry decides on this and never on text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ErrorKind {
    /// The user's input is wrong: a manifest, a query, an option. Never retried.
    Invalid,
    /// Somebody else committed first. Plan again from the new version.
    Conflict,
    /// A store or a node did not answer. Retried with backoff.
    Unavailable,
    /// The data is not what the job needs: a failed expectation, a corrupt file.
    Data,
    /// Memory, disk or a named limit ran out. The message says what to raise.
    Exhausted,
    /// Somebody asked to stop.
    Cancelled,
    /// An invariant of ours does not hold. The message names it.
    Internal,
}

impl ErrorKind {
    /// As it is stored and shown: `unavailable`.
    pub fn word(self) -> &'static str {
        match self {
            Self::Invalid => "invalid",
            Self::Conflict => "conflict",
            Self::Unavailable => "unavailable",
            Self::Data => "data",
            Self::Exhausted => "exhausted",
            Self::Cancelled => "cancelled",
            Self::Internal => "internal",
        }
    }
}

/// Kind, message and the chain below it. The message is lower case and ends with what to do.
pub struct Error {
    kind: ErrorKind,
    message: String,
    /// The cause, already rendered to its root; not repeated in `message`.
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
    /// Where in the user's files, when it is about them.
    diagnostics: Vec<Diagnostic>,
    /// What was noticed before it, and did not cause it.
    warnings: Vec<String>,
}

impl Error {
    /// Control characters of the message, which may come from a file's name or content, are escaped.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        let message = message.into();
        let message = match shown(&message) {
            Cow::Borrowed(_) => message,
            Cow::Owned(escaped) => escaped,
        };
        Self { kind, message, source: None, diagnostics: Vec::new(), warnings: Vec::new() }
    }

    /// `Invalid`, with everything that is wrong in the user's files: one line each as the message.
    pub fn from_diagnostics(diagnostics: Vec<Diagnostic>) -> Self {
        let lines: Vec<String> = diagnostics.iter().map(Diagnostic::to_string).collect();
        Self { diagnostics, ..Self::invalid(lines.join("\n")) }
    }

    /// With its places in other texts.
    #[must_use]
    pub fn at_places(self, place: impl Fn(&Diagnostic) -> Diagnostic) -> Self {
        if self.diagnostics.is_empty() {
            return self;
        }
        let placed = Self::from_diagnostics(self.diagnostics.iter().map(place).collect());
        Self { kind: self.kind, source: self.source, warnings: self.warnings, ..placed }
    }

    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Invalid, message)
    }

    pub fn conflict(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Conflict, message)
    }

    pub fn unavailable(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Unavailable, message)
    }

    pub fn data(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Data, message)
    }

    pub fn exhausted(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Exhausted, message)
    }

    pub fn cancelled(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Cancelled, message)
    }

    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Internal, message)
    }

    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// With what was noticed before the error, and did not cause it.
    #[must_use]
    pub fn with_warnings(mut self, warnings: Vec<String>) -> Self {
        self.warnings = warnings;
        self
    }

    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    pub fn message(&self) -> &str {
        &self.message
    }

    /// Empty unless the error is about the user's files.
    pub fn diagnostics(&self) -> &[Diagnostic] {
        &self.diagnostics
    }

    /// For a person: each diagnostic with its line and a caret, or the message. Ends without a newline.
    pub fn render(&self) -> String {
        self.render_each(Diagnostic::render)
    }

    /// As [`Error::render`], with the colours of a terminal.
    pub fn render_coloured(&self) -> String {
        self.render_each(Diagnostic::render_coloured)
    }

    fn render_each(&self, render: fn(&Diagnostic) -> String) -> String {
        if self.diagnostics.is_empty() {
            return format!("error: {}", self.message);
        }
        let shown: Vec<String> = self.diagnostics.iter().map(render).collect();
        shown.join("\n\n")
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.kind, self.message)?;
        match &self.source {
            Some(source) => write!(f, " (caused by: {source:?})"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_ref().map(|source| source.as_ref() as _)
    }
}

impl From<Diagnostic> for Error {
    fn from(diagnostic: Diagnostic) -> Self {
        Self::from_diagnostics(vec![diagnostic])
    }
}
