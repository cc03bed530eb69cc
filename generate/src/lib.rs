//! Made-up market data in the layout that the shipped project reads, with defects of real feeds planted at a known rate.
//!
//! A file depends on the options and on its own symbol alone, and its rows go to the writer as they are made: files are
//! written side by side, and memory does not grow with symbols or sessions. Asking for more sessions adds older rows.
//!
//! | feed | path | rows |
//! |---|---|---|
//! | intraday | `intraday/av_1min_2020q4/intraday_1min_{symbol}.csv` | the last sessions up to 2021-01-08, newest first |
//! | week | `intraday/av_week_2019_02_11/{symbol}_1min.csv` | 2019-02-11 to 2019-02-15, newest first; every 4th symbol |
//! | daily | `daily/sp500_5yr/{symbol}_data.csv` | 300 sessions up to 2018-02-07, oldest first; every 2nd symbol |
//!
//! Stamps of 1-minute bars are New York wall clock and name the bar's end: a session has 09:31 to 16:00, and to 13:00
//! on an early close. [`Defect`] defines each defect and what a correct reader does with it; `defects.json` beside
//! the folders counts what was planted and what readers must find.
//!
//! [`provider`] answers requests as providers do, from one made-up [`Market`].

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing))]

mod calendar;
mod defect;
mod file;
mod market;
pub mod provider;
mod random;
mod record;
mod row;
mod symbol;
#[cfg(test)]
mod tests;
mod walk;
mod write;

use std::collections::BTreeSet;

use pulse_core::{Error, Result};
use serde::Serialize;

use calendar::Session;
pub use defect::{Defect, Planted};
pub use market::{Bar, Market};
pub use record::{FileRecord, Summary};
pub use write::write;

/// What to generate.
#[derive(Debug, Clone)]
pub struct GenerateOptions {
    /// Number of symbols, at most [`symbol::MOST`].
    pub symbols: u32,
    /// Sessions of the intraday feed, counted back from 2021-01-08.
    pub sessions: u32,
    pub seed: u64,
    /// Share of bars with a defect, 0 to 1. With 0 there is none of any kind.
    pub defects: f64,
    /// Of the intraday feed; the week's feed has regular bars alone.
    pub hours: Hours,
    pub feeds: BTreeSet<Feed>,
}

/// Which bars the intraday feed holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Hours {
    /// Every minute of the session.
    Regular,
    /// Also a few of the minutes from 04:01 and up to 20:00.
    Extended,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Feed {
    Intraday,
    Week,
    Daily,
}

impl Feed {
    pub const ALL: [Self; 3] = [Self::Intraday, Self::Week, Self::Daily];

    fn folder(self) -> &'static str {
        match self {
            Self::Intraday => "intraday/av_1min_2020q4",
            Self::Week => "intraday/av_week_2019_02_11",
            Self::Daily => "daily/sp500_5yr",
        }
    }

    /// One symbol in this many has the feed: the second and third feed are there for their shape, not for their size.
    fn every(self) -> u32 {
        match self {
            Self::Intraday => 1,
            Self::Week => 4,
            Self::Daily => 2,
        }
    }
}

impl std::str::FromStr for Feed {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "intraday" => Ok(Self::Intraday),
            "week" => Ok(Self::Week),
            "daily" => Ok(Self::Daily),
            _ => Err(Error::invalid(format!("no feed is called `{text}`: use intraday, week or daily"))),
        }
    }
}

/// Checked options and the sessions of each feed, oldest first.
#[derive(Debug)]
pub(crate) struct Plan {
    options: GenerateOptions,
    intraday: Vec<Session>,
    week: Vec<Session>,
    daily: Vec<Session>,
}

/// One file that is to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PlannedFile {
    pub(crate) feed: Feed,
    /// Position of the symbol, from 0.
    pub(crate) index: u32,
    pub(crate) symbol: String,
}

impl PlannedFile {
    /// Path below the output's root.
    pub(crate) fn path(&self) -> String {
        let folder = self.feed.folder();
        let symbol = &self.symbol;
        match self.feed {
            Feed::Intraday => format!("{folder}/intraday_1min_{symbol}.csv"),
            Feed::Week => format!("{folder}/{symbol}_1min.csv"),
            Feed::Daily => format!("{folder}/{symbol}_data.csv"),
        }
    }
}

impl Plan {
    /// # Errors
    /// `Invalid` when an option is out of its range.
    pub(crate) fn new(options: GenerateOptions) -> Result<Self> {
        let GenerateOptions { symbols, sessions, defects, .. } = options;
        if symbols == 0 || symbols > symbol::MOST {
            return Err(Error::invalid(format!("{symbols} symbols cannot be named: ask for 1 to {}", symbol::MOST)));
        }
        if !(0.0..=1.0).contains(&defects) {
            return Err(Error::invalid(format!("{defects} is not a share of rows: give a rate between 0 and 1")));
        }
        if options.feeds.is_empty() {
            return Err(Error::invalid("no feed was asked for: name at least one of intraday, week, daily"));
        }
        let known = calendar::intraday();
        let wanted = usize::try_from(sessions).unwrap_or(usize::MAX);
        if wanted == 0 || wanted > known.len() {
            return Err(Error::invalid(format!(
                "{sessions} sessions are not in the calendar: ask for 1 to {}, which go back to {} from {}",
                known.len(),
                known.first().map(|session| session.date.to_string()).unwrap_or_default(),
                known.last().map(|session| session.date.to_string()).unwrap_or_default(),
            )));
        }
        let intraday = known.into_iter().rev().take(wanted).rev().collect();
        Ok(Self { options, intraday, week: calendar::week(), daily: calendar::daily() })
    }

    /// All files, feed after feed.
    pub(crate) fn files(&self) -> impl Iterator<Item = PlannedFile> + '_ {
        self.options.feeds.iter().flat_map(|feed| {
            let indexes = (0..self.options.symbols).filter(|index| index % feed.every() == 0);
            indexes.map(|index| PlannedFile { feed: *feed, index, symbol: symbol::symbol(index) })
        })
    }

    fn sessions(&self, feed: Feed) -> &[Session] {
        match feed {
            Feed::Intraday => &self.intraday,
            Feed::Week => &self.week,
            Feed::Daily => &self.daily,
        }
    }
}
