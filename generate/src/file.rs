//! One file, row after row.

use std::io::{self, Write};

use super::calendar::{EARLY_LAST, FIRST, Minute, Session, closed_day_between};
use super::defect::{Defect, Planter};
use super::random::{Purpose, RandomStream};
use super::record::FileRecord;
use super::row::{Layout, Spelling, Stamp, push_error_row, push_row};
use super::walk::{Bar, Direction, Pace, UNITS_PER_CENT, Walk, smile};
use super::{Feed, Hours, Plan, PlannedFile};

/// Stamps of the first and the last bar outside the session: 04:01 and 20:00.
const EXTENDED: (Minute, Minute) = (4 * 60 + 1, 20 * 60);
/// After an early close nothing trades until 16:01, and the last bar is at 17:00.
const EXTENDED_AFTER_EARLY_CLOSE: (Minute, Minute) = (16 * 60 + 1, 17 * 60);
/// 13:11 and 15:31.
const PHANTOM: [Minute; 2] = [13 * 60 + 11, 15 * 60 + 31];
/// Share of the minutes outside the session with a bar.
const EXTENDED_SHARE: f64 = 0.02;
const EXTENDED_PACE: Pace = Pace { volatility: 0.000_4, activity: 0.1 };
/// A day moves like the root of its minutes, and trades like most of them.
const DAILY_PACE: Pace = Pace { volatility: 0.012, activity: 350.0 };
/// Rows are handed to the writer in pieces of this many bytes.
const PIECE: usize = 256 * 1024;

impl Plan {
    /// Writes one file and says what is in it.
    ///
    /// # Errors
    /// Those of the writer.
    pub(crate) fn write_file<W: Write>(&self, file: &PlannedFile, out: W) -> io::Result<FileRecord> {
        let name = format!("{}/{:?}", file.symbol, file.feed);
        let stream = |purpose| RandomStream::new(self.options.seed, &name, purpose);
        let planter = Planter::new(stream(Purpose::Defects), self.options.defects);
        let (layout, direction) = match file.feed {
            Feed::Intraday if planter.breaks_file(file.index) => (Layout::Broken, Direction::IntoThePast),
            Feed::Intraday => (Layout::Intraday, Direction::IntoThePast),
            Feed::Week => (Layout::Week, Direction::IntoThePast),
            Feed::Daily => (Layout::Daily, Direction::IntoTheFuture),
        };
        let mut rows = Rows {
            out,
            text: Vec::with_capacity(2 * PIECE),
            layout,
            symbol: &file.symbol,
            planter,
            record: FileRecord::new(file),
        };
        rows.text.extend_from_slice(layout.header().as_bytes());
        let symbol = RandomStream::new(self.options.seed, &file.symbol, Purpose::Symbol);
        let walk = Walk::new(symbol, stream(Purpose::Prices), direction);
        match file.feed {
            Feed::Intraday => rows.minutes(walk, self.sessions(file.feed), self.options.hours)?,
            Feed::Week => rows.minutes(walk, self.sessions(file.feed), Hours::Regular)?,
            Feed::Daily => rows.days(walk, self.sessions(file.feed))?,
        }
        rows.finish()
    }
}

struct Rows<'a, W> {
    out: W,
    /// Rows that the writer has not been given yet.
    text: Vec<u8>,
    layout: Layout,
    symbol: &'a str,
    planter: Planter,
    record: FileRecord,
}

impl<W: Write> Rows<'_, W> {
    /// 1-minute bars, newest first.
    fn minutes(&mut self, mut walk: Walk, sessions: &[Session], hours: Hours) -> io::Result<()> {
        let mut newer: Option<&Session> = None;
        let mut bars = 0;
        for session in sessions.iter().rev() {
            if let Some(newer) = newer {
                walk.skip_night();
                if let Some(date) = closed_day_between(session.date, newer.date)
                    && self.planter.on_closed_day(std::mem::take(&mut bars))
                {
                    let minute = FIRST + self.planter.variant(session.last - FIRST);
                    self.closed_day_bar(Stamp { date, minute: Some(minute) }, &walk);
                }
            }
            bars += session.last - FIRST + 1;
            self.session(&mut walk, session, hours);
            self.hand_over(PIECE)?;
            newer = Some(session);
        }
        Ok(())
    }

    /// The 1-minute bars of one session and those around it, newest first.
    fn session(&mut self, walk: &mut Walk, session: &Session, hours: Hours) {
        let bars = session.last - FIRST + 1;
        let has_phantoms = session.closes_early() && self.planter.after_early_close(bars);
        for minute in (EXTENDED.0..=EXTENDED.1).rev() {
            let stamp = Stamp { date: session.date, minute: Some(minute) };
            if session.is_regular(minute) {
                let bar = walk.step(smile(session, minute));
                self.bar(stamp, bar, Place::InSession);
            } else if has_phantoms && PHANTOM.contains(&minute) {
                self.row(stamp, &Bar::flat(walk.quote(), 0), Spelling::Plain);
                self.planter.count(Defect::PhantomBar);
            } else if hours == Hours::Extended && trades_outside(walk, session, minute) {
                let bar = walk.step(EXTENDED_PACE);
                self.bar(stamp, bar, Place::Outside);
            }
        }
    }

    /// Daily bars, oldest first.
    fn days(&mut self, mut walk: Walk, sessions: &[Session]) -> io::Result<()> {
        let mut older: Option<&Session> = None;
        let mut bars = 0;
        for session in sessions {
            if let Some(older) = older {
                walk.skip_night();
                if let Some(date) = closed_day_between(older.date, session.date)
                    && self.planter.on_closed_day(std::mem::take(&mut bars))
                {
                    self.closed_day_bar(Stamp { date, minute: None }, &walk);
                }
            }
            bars += 1;
            let bar = walk.step(DAILY_PACE);
            self.bar(Stamp { date: session.date, minute: None }, bar, Place::InSession);
            self.hand_over(PIECE)?;
            older = Some(session);
        }
        Ok(())
    }

    fn closed_day_bar(&mut self, stamp: Stamp, walk: &Walk) {
        self.row(stamp, &Bar::flat(walk.quote(), 100), Spelling::Plain);
        self.planter.count(Defect::ClosedDayBar);
    }

    /// A bar, or what its defect makes of it.
    fn bar(&mut self, stamp: Stamp, bar: Bar, place: Place) {
        // Outside the session a minute without a row is nothing unusual.
        let defect = self.planter.of_bar().filter(|defect| place == Place::InSession || *defect != Defect::MissingBar);
        let in_silver = match defect {
            None => {
                self.row(stamp, &bar, Spelling::Plain);
                true
            }
            Some(defect) => {
                self.planter.count(defect);
                self.spoiled(stamp, bar, defect)
            }
        };
        if in_silver && place == Place::InSession {
            self.record.regular += 1;
        }
    }

    /// Returns whether a correct reader brings the bar to silver.
    fn spoiled(&mut self, stamp: Stamp, bar: Bar, defect: Defect) -> bool {
        match defect {
            Defect::NullCell => {
                let cell = self.planter.variant(4);
                self.row(stamp, &bar, Spelling::Empty(cell));
                false
            }
            Defect::OhlcViolation => {
                let bar = match self.planter.variant(2) {
                    0 => Bar { high: bar.open.min(bar.close).saturating_sub(UNITS_PER_CENT), ..bar },
                    _ => Bar { low: bar.open.max(bar.close) + UNITS_PER_CENT, ..bar },
                };
                self.row(stamp, &bar, Spelling::Plain);
                false
            }
            Defect::TextInNumber => {
                let cell = self.planter.variant(5);
                self.row(stamp, &bar, Spelling::Word(cell));
                false
            }
            Defect::MissingField => {
                self.row(stamp, &bar, Spelling::MissingField);
                false
            }
            Defect::ExtraField => {
                self.row(stamp, &bar, Spelling::ExtraField);
                false
            }
            Defect::MissingBar => false,
            Defect::Duplicate => {
                self.row(stamp, &bar, Spelling::Plain);
                self.row(stamp, &bar, Spelling::Plain);
                true
            }
            Defect::NearDuplicate => {
                self.row(stamp, &bar, Spelling::Plain);
                self.row(stamp, &bar, Spelling::Nudged);
                true
            }
            Defect::ZeroVolume => {
                self.row(stamp, &Bar::flat(bar.close, 0), Spelling::Plain);
                true
            }
            Defect::BinaryNoise => {
                let bar = Bar { high: bar.open.max(bar.close), ..bar };
                self.row(stamp, &bar, Spelling::NoisyHigh);
                true
            }
            Defect::ErrorRow => {
                self.row(stamp, &bar, Spelling::Plain);
                self.error_row();
                true
            }
            // These belong to places in the file, not to bars.
            Defect::ClosedDayBar | Defect::PhantomBar | Defect::BrokenHeader => {
                self.row(stamp, &bar, Spelling::Plain);
                true
            }
        }
    }

    fn row(&mut self, stamp: Stamp, bar: &Bar, spelling: Spelling) {
        push_row(&mut self.text, (self.layout, self.symbol), stamp, bar, spelling);
        self.record.rows += 1;
    }

    fn error_row(&mut self) {
        push_error_row(&mut self.text, self.layout);
        self.record.rows += 1;
    }

    fn hand_over(&mut self, at_least: usize) -> io::Result<()> {
        if self.text.len() >= at_least {
            self.out.write_all(&self.text)?;
            self.record.bytes += self.text.len() as u64;
            self.text.clear();
        }
        Ok(())
    }

    fn finish(mut self) -> io::Result<FileRecord> {
        if self.layout == Layout::Broken {
            self.error_row();
            self.planter.count(Defect::ErrorRow);
            self.planter.count(Defect::BrokenHeader);
        }
        self.hand_over(0)?;
        self.out.flush()?;
        self.record.planted = self.planter.into_planted();
        Ok(self.record)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    InSession,
    Outside,
}

fn trades_outside(walk: &mut Walk, session: &Session, minute: Minute) -> bool {
    let auction = session.last + 1;
    if !session.closes_early() || minute < FIRST {
        walk.trades(EXTENDED_SHARE)
    } else if minute == auction {
        // The closing auction is reported in the minute after the close.
        true
    } else {
        let (first, last) = EXTENDED_AFTER_EARLY_CLOSE;
        minute > EARLY_LAST && (first..=last).contains(&minute) && walk.trades(EXTENDED_SHARE)
    }
}
