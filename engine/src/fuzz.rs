//! Mutations of what others may write: nothing panics. `PULSE_TEST_FUZZ_S` says for how many seconds each kind is tried,
//! `PULSE_TEST_SEED` repeats a failure. Files of sources have targets of their own (`source/file/tests/fuzz.rs`), so has the run ledger
//! (scheduler/src/ledger/fuzz.rs).

use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

const MOST_BYTES: usize = 4096;

/// Steele and others' SplitMix64: each seed another sequence.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(crate) fn below(&mut self, end: usize) -> usize {
        (self.next() % end.max(1) as u64) as usize
    }

    pub(crate) fn of<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[self.below(items.len())]
    }
}

/// Changes some places of `bytes`; what is put in is of `words`, of another file, or any byte.
pub(crate) fn mutated(random: &mut Random, bytes: &[u8], other: &[u8], words: &[&str]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for _ in 0..=random.below(4) {
        let at = random.below(bytes.len() + 1);
        let end = (at + random.below(9)).min(bytes.len());
        let part = at..end;
        match random.below(7) {
            0 => bytes.insert(at, random.next() as u8),
            1 => drop(bytes.splice(part, random.of(words).bytes())),
            2 => drop(bytes.drain(part)),
            3 => bytes.truncate(at),
            4 => {
                let start = random.below(other.len() + 1);
                let length = random.below(40).min(other.len() - start);
                drop(bytes.splice(part, other[start..start + length].iter().copied()));
            }
            5 => {
                let again = bytes[part].to_vec();
                drop(bytes.splice(at..at, again));
            }
            _ => {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= 1 << random.below(8);
                }
            }
        }
    }
    bytes.truncate(MOST_BYTES);
    bytes
}

/// Calls `step` until the time is over; it returns what it is about to try and tries it.
pub(crate) fn fuzz(kind: &str, mut step: impl FnMut(&mut Random, &mut String)) {
    let variable = |name: &str| std::env::var(name).ok().map(|text| text.parse().unwrap());
    let seed = variable("PULSE_TEST_SEED").unwrap_or_else(|| RandomState::new().build_hasher().finish());
    let limit = Duration::from_secs(variable("PULSE_TEST_FUZZ_S").unwrap_or(1));
    let (mut random, began, mut tries) = (Random(seed), Instant::now(), 0_u64);
    while began.elapsed() < limit || tries < 100 {
        tries += 1;
        let mut tried = String::new();
        if catch_unwind(AssertUnwindSafe(|| step(&mut random, &mut tried))).is_err() {
            panic!("{kind}: PULSE_TEST_SEED={seed}, try {tries}: {tried}");
        }
    }
    if let Some(path) = std::env::var_os("PULSE_TEST_FUZZ_LOG") {
        let line = format!("{kind}: {tries} tries in {} s, PULSE_TEST_SEED={seed}\n", began.elapsed().as_secs());
        let mut file = std::fs::File::options().append(true).create(true).open(path).unwrap();
        std::io::Write::write_all(&mut file, line.as_bytes()).unwrap();
    }
}
