//! Defects as real feeds have them, and what a correct reader does with each.

use std::collections::BTreeMap;

use serde::Serialize;

use super::random::RandomStream;

/// How many of each kind were planted.
pub type Planted = BTreeMap<Defect, u64>;

/// A kind of defect. Each stands alone: no row has two, and both rows of a repeated bar are otherwise good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Defect {
    /// One of open, high, low and close is empty. Read; quarantined on the way to silver.
    NullCell,
    /// The high is below open and close, or the low above them, by a cent at least. Quarantined on the way to silver.
    OhlcViolation,
    /// A word in one of the five numbers. Rejected by the reader.
    TextInNumber,
    /// The row lacks its volume and the comma before it. Rejected by the reader.
    MissingField,
    /// The row has one cell too many. Rejected by the reader.
    ExtraField,
    /// A second row, equal to the row before it. Silver keeps one.
    Duplicate,
    /// A second row with the stamp of the row before it, prices 0.00004 higher. Silver keeps one.
    NearDuplicate,
    /// A minute of a session (in the daily feed a session) without a row.
    MissingBar,
    /// Four equal prices and no volume. Good.
    ZeroVolume,
    /// The high written as `113.50399999999999`, less than 1e-9 below the greater of open and close. Good.
    BinaryNoise,
    /// An API's error message in the first cell of an additional row: what stands as its timestamp is empty or the
    /// message. Rejected by the reader.
    ErrorRow,
    /// A bar on a holiday or a Saturday. Read; quarantined on the way to silver, for there is no such session.
    ClosedDayBar,
    /// Flat bars without volume at 13:11 and 15:31 of a day that closed at 13:00. Good; not of the session.
    PhantomBar,
    /// Counted in files: a header that begins with `{,`, an empty first cell in all rows, volumes as `737.0`, and an
    /// error row at the end, which is counted as such too. The other rows are as in any file.
    BrokenHeader,
}

/// What becomes of a defect's row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// The reader quarantines the row: it never reaches bronze.
    Rejected,
    /// In bronze, quarantined on the way to silver.
    Quarantined,
    /// In bronze, left out of silver because its bar is there already.
    Dropped,
    Kept,
    /// Not a row.
    NoRow,
}

impl Defect {
    pub(super) fn fate(self) -> Fate {
        match self {
            Self::TextInNumber | Self::MissingField | Self::ExtraField | Self::ErrorRow => Fate::Rejected,
            Self::NullCell | Self::OhlcViolation | Self::ClosedDayBar => Fate::Quarantined,
            Self::Duplicate | Self::NearDuplicate => Fate::Dropped,
            Self::ZeroVolume | Self::BinaryNoise | Self::PhantomBar => Fate::Kept,
            Self::MissingBar | Self::BrokenHeader => Fate::NoRow,
        }
    }
}

/// The kinds that a bar can have, in the order in which they take turns.
const OF_BARS: [Defect; 11] = [
    Defect::NullCell,
    Defect::OhlcViolation,
    Defect::TextInNumber,
    Defect::MissingField,
    Defect::ExtraField,
    Defect::Duplicate,
    Defect::NearDuplicate,
    Defect::MissingBar,
    Defect::ZeroVolume,
    Defect::BinaryNoise,
    Defect::ErrorRow,
];

/// One file in this many is broken, ..
const BROKEN_EVERY: u32 = 50;
/// .. beginning with the symbol at this position, so that small outputs have one.
const BROKEN_FIRST: u32 = 5;

/// Chooses the defects of one file and counts them.
#[derive(Debug)]
pub(super) struct Planter {
    random: RandomStream,
    rate: f64,
    turn: usize,
    planted: Planted,
}

impl Planter {
    pub(super) fn new(mut random: RandomStream, rate: f64) -> Self {
        let turn = random.below(OF_BARS.len() as u32) as usize;
        Self { random, rate, turn, planted: Planted::new() }
    }

    /// The defect of the next bar. Kinds take turns, so that all are equally common.
    pub(super) fn of_bar(&mut self) -> Option<Defect> {
        if self.rate == 0.0 || !self.random.chance(self.rate) {
            return None;
        }
        self.turn = (self.turn + 1) % OF_BARS.len();
        Some(OF_BARS[self.turn])
    }

    /// Whether a bar is planted on a closed day after that many bars: as often as any other kind.
    pub(super) fn on_closed_day(&mut self, bars: u32) -> bool {
        self.random.chance(self.rate * f64::from(bars) / OF_BARS.len() as f64)
    }

    /// Whether phantom bars follow an early close: as often as a session of that many bars has a defect, nearly.
    pub(super) fn after_early_close(&mut self, bars: u32) -> bool {
        self.random.chance(self.rate * f64::from(bars))
    }

    pub(super) fn breaks_file(&self, index: u32) -> bool {
        self.rate > 0.0 && index % BROKEN_EVERY == BROKEN_FIRST
    }

    /// One of `end` variants of a defect.
    pub(super) fn variant(&mut self, end: u32) -> u32 {
        self.random.below(end)
    }

    pub(super) fn count(&mut self, defect: Defect) {
        *self.planted.entry(defect).or_default() += 1;
    }

    pub(super) fn into_planted(self) -> Planted {
        self.planted
    }
}
