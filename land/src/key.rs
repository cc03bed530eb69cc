//! The key of a provider. Nothing shows it.

use std::fmt;

use pulse_core::{Error, Result};

/// What stands in place of the key.
const HIDDEN: &str = "<key>";
/// Longer than the key of any provider.
const LONGEST: usize = 4096;

/// A secret of a provider.
#[derive(Clone)]
pub struct Key(String);

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(HIDDEN)
    }
}

impl Key {
    /// # Errors
    /// `Invalid`, without the text, when it is empty or cannot be part of a request.
    pub fn new(provider: &str, text: &str) -> Result<Self> {
        let text = text.trim();
        if text.is_empty() || text.len() > LONGEST || text.chars().any(char::is_control) {
            return Err(Error::invalid(format!(
                "the key of `providers.{provider}` is empty, too long or has control characters: look at where `key` leads to"
            )));
        }
        Ok(Self(text.to_owned()))
    }

    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }

    /// The text without the key, plain or percent-encoded.
    pub(crate) fn hide(&self, text: &str) -> String {
        text.replace(&self.0, HIDDEN).replace(&encoded(&self.0), HIDDEN)
    }

    /// The bytes without the key. Some providers repeat it in their notices.
    pub(crate) fn hide_in(&self, body: Vec<u8>) -> Vec<u8> {
        let holds = |key: &str| body.windows(key.len()).any(|part| part == key.as_bytes());
        if !holds(&self.0) && !holds(&encoded(&self.0)) {
            return body;
        }
        self.hide(&String::from_utf8_lossy(&body)).into_bytes()
    }
}

/// A value in the query of a URL.
pub(crate) fn encoded(text: &str) -> String {
    percent_encoding::utf8_percent_encode(text, QUERY).to_string()
}

const QUERY: &percent_encoding::AsciiSet =
    &percent_encoding::NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_holds_the_key() {
        let key = Key::new("p", "s3+cr/et \n").unwrap();
        assert_eq!(format!("{key:?}"), "<key>");
        assert_eq!(key.hide("a s3+cr/et b s3%2Bcr%2Fet"), "a <key> b <key>");
        assert_eq!(key.hide_in(b"your key s3+cr/et is".to_vec()), b"your key <key> is");
        assert_eq!(key.hide_in(vec![0xff, 1]), [0xff, 1]);
        for wrong in ["", "  ", "a\u{7}b"] {
            let error = Key::new("p", wrong).unwrap_err();
            assert!(error.message().contains("providers.p"), "{error}");
        }
    }
}
