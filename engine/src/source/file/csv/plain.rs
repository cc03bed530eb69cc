//! Stretches of a file in which every line can be read the fast way.

/// Bytes that are looked at together for anything but plain text.
const WINDOW_BYTES: usize = 32 << 10;

/// The stretch of bytes that was looked at last, and whether it is ASCII without quotes and NUL.
pub(super) struct Plain {
    until: usize,
    is_plain: bool,
    /// NUL where there is no quote.
    quote: u8,
}

impl Plain {
    pub(super) fn new(from: usize, quote: Option<u8>) -> Self {
        Self { until: from, is_plain: false, quote: quote.unwrap_or(0) }
    }

    #[inline]
    pub(super) fn covers(&mut self, bytes: &[u8], at: usize, length: usize) -> bool {
        if at + length > self.until {
            let window = bytes.get(at..).map(|rest| rest.get(..WINDOW_BYTES).unwrap_or(rest)).unwrap_or_default();
            self.is_plain = is_plain(window, self.quote);
            self.until = at + window.len();
        }
        self.is_plain && at + length <= self.until
    }
}

#[inline]
fn is_plain(bytes: &[u8], quote: u8) -> bool {
    let odd = bytes
        .iter()
        .fold(0_u8, |odd, byte| odd | u8::from(*byte >= 0x80) | u8::from(*byte == 0) | u8::from(*byte == quote));
    odd == 0
}
