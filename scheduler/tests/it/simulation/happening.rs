//! What comes from outside: files, submissions, requests to stop, other commits, and trouble.

use super::random::Random;
use super::tables::Sources;
use super::world::PROCESSES;

/// Something from outside.
#[derive(Debug, Clone, Copy)]
pub(super) enum Happening {
    Arrive,
    /// One of the files that came gets another content.
    Correct,
    /// The newest of the files goes away, and is the next one that comes.
    Withdraw,
    Submit {
        key: usize,
    },
    Cancel,
    Rearrange,
    Crash {
        process: usize,
    },
    /// Stops without knowing, and goes on later as if nothing had been.
    Freeze {
        process: usize,
        millis: i64,
    },
}

/// A chain, a fork, or two jobs apart.
pub(super) fn sources(random: &mut Random) -> Sources {
    let shapes: [&[Option<usize>]; 5] =
        [&[None], &[None, Some(0)], &[None, Some(0), Some(1)], &[None, Some(0), Some(0)], &[None, None]];
    shapes[random.below(shapes.len())].to_vec()
}

/// One to four submissions, some of them twice, while files arrive and things go wrong.
pub(super) fn happenings(random: &mut Random) -> Vec<(i64, Happening)> {
    let mut happenings = vec![(0, Happening::Arrive), (10, Happening::Submit { key: 0 })];
    // Often close together, so that their runs of one job meet: no lease lies between two triggers.
    let spread = if random.chance(500) { 500 } else { 6000 };
    for key in 1..random.between(1, 5) {
        happenings.push((random.between(0, spread), Happening::Submit { key: usize::try_from(key).unwrap() }));
    }
    if random.chance(500) {
        happenings.push((random.between(0, 2000), Happening::Submit { key: 0 }));
    }
    for _ in 0..random.between(0, 4) {
        happenings.push((random.between(0, spread + 2000), Happening::Arrive));
        happenings.push((random.between(0, 8000), Happening::Rearrange));
    }
    for _ in 0..random.between(0, 3) {
        happenings.push((random.between(0, spread + 2000), Happening::Correct));
    }
    if random.chance(500) {
        happenings.push((random.between(0, spread + 2000), Happening::Withdraw));
    }
    if random.chance(200) {
        happenings.push((random.between(0, 8000), Happening::Cancel));
    }
    for _ in 0..random.between(0, 3) {
        happenings.push((random.between(0, 9000), Happening::Crash { process: random.below(PROCESSES) }));
        let millis = random.between(200, 5000);
        happenings.push((random.between(0, 9000), Happening::Freeze { process: random.below(PROCESSES), millis }));
    }
    happenings
}
