//! Made-up tickers; that some of them are also real ones is chance.

/// All names of three letters have been used: every other symbol has three.
pub(super) const MOST: u32 = 2 * 26 * 26 * 26;

/// The ticker at a position: one to four letters, and one ticker with a dash. No two below [`MOST`] are equal.
pub(super) fn symbol(index: u32) -> String {
    // A prime that divides no power of 26 walks through all names of one length before it meets the first again.
    const STRIDE: u32 = 16_903;
    match index {
        0 => letters(16, 1),
        1 => letters(431, 2),
        4 => format!("{}-B", letters(88, 2)),
        _ if index.is_multiple_of(2) => letters((index / 2 * STRIDE) % 26_u32.pow(3), 3),
        _ => letters((index / 2 * STRIDE + 208_003) % 26_u32.pow(4), 4),
    }
}

/// `number` in base 26, in capitals.
fn letters(number: u32, length: u32) -> String {
    (0..length)
        .rev()
        .map(|place| number / 26_u32.pow(place) % 26)
        .filter_map(|digit| char::from_digit(digit + 10, 36))
        .map(|letter| letter.to_ascii_uppercase())
        .collect()
}
