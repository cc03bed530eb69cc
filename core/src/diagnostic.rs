//! What is wrong with a file of the user's, and where: shown as rustc shows it.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use annotate_snippets::renderer::DecorStyle;
use annotate_snippets::{AnnotationKind, Level, Origin, Renderer, Snippet};

use crate::shown::shown;

/// One mistake in one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// Relative to the project's root, with `/`.
    pub path: String,
    /// From 1.
    pub line: usize,
    /// In characters, from 1.
    pub column: usize,
    /// Bytes of the file's text.
    pub span: Range<usize>,
    /// Lower case; says what is wrong.
    pub message: String,
    /// Says what to do.
    pub help: Option<String>,
    /// Text of the whole file; empty when the file itself is missing.
    source: Arc<str>,
}

impl Diagnostic {
    /// `span` is in bytes of `source`; it is cut to its first line, where the caret goes.
    pub fn new(path: &str, source: &Arc<str>, span: Range<usize>, message: impl Into<String>) -> Self {
        let span = first_line(source, span);
        let (line, column) = position(source, span.start);
        Self {
            path: path.to_owned(),
            line,
            column,
            span,
            message: shown(&message.into()).into_owned(),
            help: None,
            source: Arc::clone(source),
        }
    }

    /// About a file as a whole, such as one that is missing.
    pub fn of_file(path: &str, message: impl Into<String>) -> Self {
        Self::new(path, &Arc::from(""), 0..0, message)
    }

    #[must_use]
    pub fn with_help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Whether it is about the file as a whole, and has no line.
    pub fn is_of_file(&self) -> bool {
        self.source.is_empty()
    }

    /// Text of the whole file.
    pub(crate) fn source(&self) -> &str {
        &self.source
    }

    /// The message, the line with a caret under the wrong text, and the help. Ends without a newline.
    pub fn render(&self) -> String {
        self.render_with(&Renderer::plain())
    }

    /// As [`Diagnostic::render`], with the colours of a terminal.
    pub fn render_coloured(&self) -> String {
        self.render_with(&Renderer::styled())
    }

    fn render_with(&self, renderer: &Renderer) -> String {
        let mut group = Level::ERROR.primary_title(self.message.as_str()).elements(Vec::<Origin<'_>>::new());
        if self.is_of_file() {
            group = group.element(Origin::path(self.path.as_str()));
        } else {
            let caret = AnnotationKind::Primary.span(self.span.clone());
            group = group.element(Snippet::source(&*self.source).path(self.path.as_str()).annotation(caret));
        }
        if let Some(help) = &self.help {
            group = group.element(Level::HELP.message(help.as_str()));
        }
        renderer.clone().decor_style(DecorStyle::Ascii).render(&[group])
    }
}

/// `path:line:column: message`, in one line.
impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_of_file() {
            write!(f, "{}: {}", self.path, self.message)?;
        } else {
            write!(f, "{}:{}:{}: {}", self.path, self.line, self.column, self.message)?;
        }
        match &self.help {
            Some(help) => write!(f, " ({help})"),
            None => Ok(()),
        }
    }
}

/// Line and column, both from 1, of the byte at `offset`; the column counts characters.
pub(crate) fn position(text: &str, offset: usize) -> (usize, usize) {
    let before = &text[..floor_boundary(text, offset)];
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
}

/// Characters of a line from one whose byte is known to the next.
const STRIDE: usize = 64;

/// Where the lines of a text and their characters begin: each place is found without reading the text from its start.
#[derive(Debug)]
pub(crate) struct Lines(Vec<Line>);

#[derive(Debug)]
struct Line {
    bytes: Range<usize>,
    /// Bytes at which each [`STRIDE`]th character begins; none where each character is a byte.
    marks: Vec<usize>,
}

impl Lines {
    pub(crate) fn of(text: &str) -> Self {
        let mut start = 0;
        let lines = text.split_inclusive('\n').map(|line| {
            let bytes = start..start + line.len();
            let marks = match line.is_ascii() {
                true => Vec::new(),
                false => line.char_indices().step_by(STRIDE).map(|(index, _)| start + index).collect(),
            };
            start = bytes.end;
            Line { bytes, marks }
        });
        Self(lines.collect())
    }

    /// Byte of the character at a line and column of `text`, both from 1; the end of the line, or of the text, when there is none.
    pub(crate) fn offset(&self, text: &str, line: usize, column: usize) -> usize {
        let (Some(line), column) = (self.0.get(line.saturating_sub(1)), column.saturating_sub(1)) else {
            return text.len();
        };
        if line.marks.is_empty() {
            return (line.bytes.start + column).min(line.bytes.end);
        }
        let Some(mark) = line.marks.get(column / STRIDE) else { return line.bytes.end };
        let near = text[*mark..line.bytes.end].char_indices().nth(column % STRIDE);
        near.map_or(line.bytes.end, |(index, _)| mark + index)
    }
}

/// The name of `known` that a person most likely meant by `wrong`.
pub fn closest<'a>(wrong: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // A third of the letters wrong is still a slip; more is another word.
    let limit = wrong.chars().count().div_ceil(3);
    known
        .into_iter()
        .map(|name| (strsim::osa_distance(wrong, name), name))
        .filter(|(distance, _)| *distance <= limit)
        .min()
        .map(|(_, name)| name)
}

fn first_line(text: &str, span: Range<usize>) -> Range<usize> {
    let start = floor_boundary(text, span.start);
    let end = floor_boundary(text, span.end).max(start);
    let end = text[start..end].find('\n').map_or(end, |newline| start + newline);
    start..end
}

fn floor_boundary(text: &str, offset: usize) -> usize {
    let mut offset = offset.min(text.len());
    while !text.is_char_boundary(offset) {
        offset -= 1;
    }
    offset
}

#[cfg(test)]
mod tests {
    use super::*;

    fn diagnostic(text: &str, wrong: &str) -> Diagnostic {
        let start = text.find(wrong).unwrap();
        Diagnostic::new("silver/x/job.toml", &Arc::from(text), start..start + wrong.len(), "unknown key `onwer`")
            .with_help("did you mean `owner`?")
    }

    #[test]
    fn a_caret_lies_under_the_wrong_text() {
        let shown = diagnostic("# über\nonwer = \"me\"\ngrain = []\n", "onwer").render();
        insta::assert_snapshot!(shown, @r#"
        error: unknown key `onwer`
         --> silver/x/job.toml:2:1
          |
        2 | onwer = "me"
          | ^^^^^
          |
          = help: did you mean `owner`?
        "#);
    }

    #[test]
    fn colour_adds_escapes_and_nothing_else() {
        let wrong = diagnostic("onwer = 1\n", "onwer");
        let coloured = wrong.render_coloured();
        assert!(coloured.contains("\u{1b}["));
        let mut plain = String::new();
        let mut rest = coloured.as_str();
        while let Some(escape) = rest.find('\u{1b}') {
            plain.push_str(&rest[..escape]);
            rest = &rest[escape + rest[escape..].find('m').unwrap() + 1..];
        }
        assert_eq!(plain + rest, wrong.render());
    }

    #[test]
    fn a_missing_file_has_no_line() {
        let missing = Diagnostic::of_file("silver/x/query.sql", "the file is missing");
        insta::assert_snapshot!(missing.render(), @r"
        error: the file is missing
        --> silver/x/query.sql
        ");
        assert_eq!(missing.to_string(), "silver/x/query.sql: the file is missing");
    }

    #[test]
    fn positions_and_offsets_agree_at_every_character() {
        let text = "aé\n\nüb€x\nlast";
        for text in [text.to_owned(), text.repeat(99), "ä".repeat(200) + "\n" + &"b".repeat(200), String::new()] {
            let lines = Lines::of(&text);
            for (index, _) in text.char_indices() {
                let (line, column) = position(&text, index);
                assert_eq!(lines.offset(&text, line, column), index, "{line}:{column}");
            }
            let (line, column) = position(&text, text.len());
            assert_eq!(lines.offset(&text, line, column), text.len());
            assert_eq!(lines.offset(&text, 9999, 1), text.len());
        }
        assert_eq!(position(text, 4), (2, 1));
    }

    #[test]
    fn a_caret_at_the_end_of_a_file_is_shown() {
        let text: Arc<str> = Arc::from("select 1 +");
        let end = Diagnostic::new("query.sql", &text, 10..10, "the query ends too early");
        assert_eq!((end.line, end.column), (1, 11));
        assert!(end.render().contains("1 | select 1 +"));
    }

    #[test]
    fn a_slip_is_recognised_and_another_word_is_not() {
        let known = ["silver.bars_1m", "silver.bars_1d", "gold.trends"];
        assert_eq!(closest("silver.bars1m", known), Some("silver.bars_1m"));
        assert_eq!(closest("gold.trend", known), Some("gold.trends"));
        assert_eq!(closest("bronze.sessions", known), None);
        // Neighbours that are swapped are one slip.
        assert_eq!(closest("onwer", ["owner"]), Some("owner"));
        assert_eq!(closest("abc", ["bca"]), None);
    }
}
