//! What tells a submission that a scheduler took in from one that somebody else wrote into the ledger: HMAC-SHA-256 (RFC 2104) of the
//! submission, by a key made from the API's token. Reasons are in docs/decisions/0054-submissions-are-sealed.md.

use std::fmt::{self, Write as _};

use sha2::{Digest as _, Sha256};

const BLOCK: usize = 64;
/// The token is for the API; here a key of its own is made from it.
const PURPOSE: &[u8] = b"pulse: submissions in the ledger";

/// A key, or none: then every submission holds.
#[derive(Clone, Default)]
pub struct Seal(Option<[u8; 32]>);

impl Seal {
    /// Of a scheduler whose API asks for this token.
    pub fn of(token: &str) -> Self {
        Self(Some(hmac(token.as_bytes(), PURPOSE)))
    }

    /// Of a text, as hexadecimal digits.
    pub(super) fn of_text(&self, text: &str) -> Option<String> {
        let mut digits = String::new();
        for byte in hmac(&self.0?, text.as_bytes()) {
            // Writing to a string does not fail.
            let _ = write!(digits, "{byte:02x}");
        }
        Some(digits)
    }

    /// Whether a text has the seal that it should have. Takes as long for any wrong one.
    pub(super) fn holds(&self, text: &str, seal: Option<&str>) -> bool {
        let Some(own) = self.of_text(text) else { return true };
        let other = seal.unwrap_or_default().as_bytes();
        let differing = own.bytes().enumerate().fold(own.len() ^ other.len(), |sum, (place, byte)| {
            sum | usize::from(byte ^ other.get(place).unwrap_or(&0))
        });
        std::hint::black_box(differing) == 0
    }
}

impl fmt::Debug for Seal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Seal(..)")
    }
}

fn hmac(key: &[u8], text: &[u8]) -> [u8; 32] {
    let mut block = [0; BLOCK];
    let hashed;
    let key = if key.len() > BLOCK {
        hashed = Sha256::digest(key);
        &hashed[..]
    } else {
        key
    };
    for (place, byte) in block.iter_mut().zip(key) {
        *place = *byte;
    }
    let inner = Sha256::new().chain_update(block.map(|byte| byte ^ 0x36)).chain_update(text).finalize();
    Sha256::new().chain_update(block.map(|byte| byte ^ 0x5c)).chain_update(inner).finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digits(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// RFC 4231, cases 1, 2 and 6.
    #[test]
    fn it_is_hmac() {
        for (key, text, expected) in [
            (vec![0x0b; 20], &b"Hi There"[..], "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"),
            (
                b"Jefe".to_vec(),
                b"what do ya want for nothing?",
                "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
            ),
            (
                vec![0xaa; 131],
                b"Test Using Larger Than Block-Size Key - Hash Key First",
                "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
            ),
        ] {
            assert_eq!(digits(&hmac(&key, text)), expected);
        }
    }

    #[test]
    fn only_the_same_text_under_the_same_token_holds() {
        let (seal, other) = (Seal::of("token-of-sixteen-or-more"), Seal::of("another-token-of-theirs"));
        let made = seal.of_text("a").unwrap();
        assert!(seal.holds("a", Some(&made)));
        for (text, made) in [
            ("b", Some(made.as_str())),
            ("a", None),
            ("a", Some("")),
            ("a", Some(&made[1..])),
            ("a", other.of_text("a").as_deref()),
        ] {
            assert!(!seal.holds(text, made));
        }
        assert!(Seal::default().holds("a", None) && Seal::default().holds("a", Some("x")));
        assert_eq!(Seal::default().of_text("a"), None);
        assert!(!format!("{seal:?}").contains(&made[..8]));
    }
}
