//! FNV-1a, which is the same in every build and process; the standard library's hasher does not promise that.

/// 63-bit hash of the concatenated texts; never negative.
pub fn hash_of(texts: &[&str]) -> i64 {
    let step = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    let hash = texts.iter().flat_map(|text| text.bytes()).fold(0xcbf2_9ce4_8422_2325, step);
    (hash & (u64::MAX >> 1)).cast_signed()
}
