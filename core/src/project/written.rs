//! Files as they are written, beside those in which values stand for variables, and expressions for calls: a mistake that is found in
//! the one is shown in the other.

use std::ops::Range;
use std::sync::Arc;

use crate::diagnostic::Diagnostic;

/// A text in which parts were replaced.
#[derive(Debug, Clone, Default)]
pub(super) struct Replaced {
    pub(super) text: String,
    /// Bytes in the new text, and those that stood there before.
    parts: Vec<(Range<usize>, Range<usize>)>,
}

impl Replaced {
    /// `edits` are bytes of the text with what stands there now, in the order of the text.
    pub(super) fn new(original: &str, edits: impl IntoIterator<Item = (Range<usize>, String)>) -> Self {
        let (mut replaced, mut end) = (Self::default(), 0);
        for (span, new) in edits {
            replaced.text.push_str(&original[end..span.start]);
            let start = replaced.text.len();
            replaced.text.push_str(&new);
            end = span.end;
            replaced.parts.push((start..replaced.text.len(), span));
        }
        replaced.text.push_str(&original[end..]);
        replaced
    }
}

/// A file in which something was replaced.
#[derive(Debug, Clone)]
pub struct Written {
    original: Arc<str>,
    replaced: Replaced,
}

impl Written {
    /// None where nothing was replaced.
    pub(super) fn new(original: &str, replaced: Replaced) -> Option<Self> {
        (!replaced.parts.is_empty()).then(|| Self { original: Arc::from(original), replaced })
    }

    /// The same mistake in the file as it is written. What was found within a part that was replaced is shown at the whole part.
    #[must_use]
    pub fn place(&self, found: &Diagnostic) -> Diagnostic {
        if found.source() != self.replaced.text {
            return found.clone();
        }
        let (start, end) = (self.before(found.span.start).start, self.before(found.span.end.max(1) - 1).end);
        let end = if found.span.is_empty() { start } else { end };
        let placed = Diagnostic::new(&found.path, &self.original, start..end, found.message.clone());
        match &found.help {
            Some(help) => placed.with_help(help.clone()),
            None => placed,
        }
    }

    /// What one byte of the new text stood for.
    fn before(&self, offset: usize) -> Range<usize> {
        match self.replaced.parts.iter().rev().find(|(new, _)| new.start <= offset) {
            None => offset..offset + 1,
            Some((new, old)) if offset < new.end => old.clone(),
            Some((new, old)) => {
                let offset = old.end + (offset - new.end);
                offset..offset + 1
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistake_is_shown_where_it_was_written() {
        let original = "select mid(a, b) as m,\n  wrong, $x from t";
        let call = 7..16;
        let variable = original.find("$x").unwrap()..original.find("$x").unwrap() + 2;
        let edits = [(call, "cast((a +\n b) / 2 as double)".to_owned()), (variable, "7".to_owned())];
        let replaced = Replaced::new(original, edits);
        let text: Arc<str> = Arc::from(replaced.text.as_str());
        assert_eq!(&*text, "select cast((a +\n b) / 2 as double) as m,\n  wrong, 7 from t");
        let written = Written::new(original, replaced).unwrap();
        let placed = |wrong: &str| {
            let start = text.find(wrong).unwrap();
            let found = Diagnostic::new("q.sql", &text, start..start + wrong.len(), "wrong").with_help("right");
            let placed = written.place(&found);
            assert_eq!(placed.help.as_deref(), Some("right"));
            (original[placed.span].to_owned(), placed.line, placed.column)
        };
        assert_eq!(placed("wrong"), ("wrong".to_owned(), 2, 3));
        assert_eq!(placed("select"), ("select".to_owned(), 1, 1));
        assert_eq!(placed("b) / 2"), ("mid(a, b)".to_owned(), 1, 8));
        assert_eq!(placed("7"), ("$x".to_owned(), 2, 10));
        assert_eq!(placed("from t"), ("from t".to_owned(), 2, 13));
        let end = written.place(&Diagnostic::new("q.sql", &text, text.len()..text.len(), "ends"));
        assert_eq!((end.line, end.column), (2, 19));
        let other = Diagnostic::new("q.sql", &Arc::from("another text"), 0..3, "wrong");
        assert_eq!(written.place(&other), other);
        assert!(Written::new("x", Replaced::new("x", [])).is_none());
    }
}
