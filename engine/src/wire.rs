//! Encodes our errors in the texts in which Ballista reports a failed task.

use pulse_core::{Error, ErrorKind};
use url::form_urlencoded::{byte_serialize, parse};

const OPEN: &str = "pulse-error(";
const CLOSE: char = ')';

/// Kind and message as text that survives quoting and escaping.
#[must_use]
pub fn to_wire(error: &Error) -> String {
    let message: String = byte_serialize(error.message().as_bytes()).collect();
    format!("{OPEN}{}&{message}{CLOSE}", kind_word(error.kind()))
}

/// The first error of [`to_wire`] in `text`, which Ballista has surrounded with its own text.
#[must_use]
pub fn from_wire(text: &str) -> Option<Error> {
    let (_, rest) = text.split_once(OPEN)?;
    let (inside, _) = rest.split_once(CLOSE)?;
    let (kind, message) = inside.split_once('&')?;
    let message = parse(message.as_bytes()).map(|(key, _)| key.into_owned()).next().unwrap_or_default();
    Some(Error::new(kind_of(kind)?, message))
}

const KINDS: [(ErrorKind, &str); 7] = [
    (ErrorKind::Invalid, "invalid"),
    (ErrorKind::Conflict, "conflict"),
    (ErrorKind::Unavailable, "unavailable"),
    (ErrorKind::Data, "data"),
    (ErrorKind::Exhausted, "exhausted"),
    (ErrorKind::Cancelled, "cancelled"),
    (ErrorKind::Internal, "internal"),
];

fn kind_word(kind: ErrorKind) -> &'static str {
    KINDS.iter().find(|(known, _)| *known == kind).map_or("internal", |(_, word)| word)
}

fn kind_of(word: &str) -> Option<ErrorKind> {
    KINDS.iter().find(|(_, known)| *known == word).map(|(kind, _)| *kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_survives_the_texts_around_it() {
        for (kind, _) in KINDS {
            let error = Error::new(kind, "file `a=b&c` (part 1): \"quoted\"\nand more, 100 % ü");
            let reported =
                format!("Task 3 in Stage 1 failed 4 times, most recent failure reason: {:?}", to_wire(&error));
            let read = from_wire(&format!("{reported:?}")).unwrap();
            assert_eq!(read.kind(), kind);
            assert_eq!(read.message(), error.message());
        }
    }

    #[test]
    fn other_texts_hold_no_error() {
        assert!(from_wire("Task 1 failed").is_none());
        assert!(from_wire("pulse-error(sideways&x)").is_none());
    }
}
