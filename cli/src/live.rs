//! The block at the bottom of a terminal while jobs run: one line for all jobs, and one for each that runs. Nothing of it stays.

use std::collections::BTreeMap;
use std::io::stderr;
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use pulse_core::name::TableName;
use pulse_core::run::RunState;
use pulse_engine::execute::Reached;
use rustix::process::getpgrp;

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcgetpgrp, tcsetattr};

use crate::output::{count, size, width};

/// Running jobs that have a line.
const MOST_LINES: usize = 8;
/// Columns of the spinner and of a job's name, and the blanks behind them.
const BEFORE: usize = 1 + 1 + 28 + 1;
const TICK: Duration = Duration::from_millis(120);
/// Before this, an estimate of the time left is a guess.
const FIRST_ESTIMATE: Duration = Duration::from_secs(5);

pub(crate) struct Live {
    /// None off a terminal.
    block: Option<Block>,
}

struct Block {
    all: MultiProgress,
    head: ProgressBar,
    jobs: usize,
    ended: usize,
    began: Instant,
    running: BTreeMap<TableName, Line>,
    _quiet: Option<Quiet>,
}

/// A terminal that does not show Ctrl-C as `^C`. The block's lines are as wide as the terminal, so that these signs would begin a new one, and
/// the block would be cleared one line too low.
struct Quiet {
    before: Termios,
}

impl Quiet {
    fn new() -> Option<Self> {
        let before = Self::is_ours().then(|| tcgetattr(stderr()).ok())??;
        let mut quiet = before.clone();
        quiet.local_modes.remove(LocalModes::ECHOCTL);
        tcsetattr(stderr(), OptionalActions::Now, &quiet).ok()?;
        Some(Self { before })
    }

    /// A process in the background that changes the terminal is stopped.
    fn is_ours() -> bool {
        tcgetpgrp(stderr()).is_ok_and(|group| group == getpgrp())
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        if Self::is_ours() {
            // Nothing can be done about it.
            let _ = tcsetattr(stderr(), OptionalActions::Now, &self.before);
        }
    }
}

struct Line {
    /// None where too many jobs run at once.
    bar: Option<ProgressBar>,
    began: Instant,
    reached: Reached,
}

impl Live {
    /// `jobs` is how many there are in all.
    pub(crate) fn new(jobs: usize, is_terminal: bool) -> Self {
        Self { block: is_terminal.then(|| Block::new(jobs)) }
    }

    /// A line above the block, which stays.
    pub(crate) fn say(&self, line: &str) {
        match &self.block {
            Some(block) => drop(block.all.println(line)),
            None => eprintln!("{line}"),
        }
    }

    pub(crate) fn started(&mut self, job: &TableName) {
        if let Some(block) = &mut self.block {
            block.start(job);
        }
    }

    /// Where the tasks are not seen from here.
    pub(crate) fn state(&mut self, job: &TableName, state: RunState) {
        if let Some(Line { bar: Some(bar), .. }) = self.block.as_ref().and_then(|block| block.running.get(job)) {
            bar.set_message(state.to_string());
        }
    }

    pub(crate) fn reached(&mut self, job: &TableName, reached: Reached) {
        if let Some(block) = &mut self.block {
            block.reach(job, reached);
        }
    }

    /// A job's attempt or run is over.
    pub(crate) fn ended(&mut self, job: &TableName, is_final: bool) {
        if let Some(block) = &mut self.block {
            block.end(job, is_final);
        }
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        if let Some(block) = &self.block {
            // A run that is cancelled leaves jobs that have not ended.
            block.running.values().filter_map(|line| line.bar.as_ref()).for_each(ProgressBar::finish_and_clear);
            block.head.finish_and_clear();
        }
    }
}

impl Block {
    fn new(jobs: usize) -> Self {
        let all = MultiProgress::new();
        let head = all.add(ProgressBar::new(jobs as u64));
        head.set_style(style("{spinner} {bar:20} {pos}/{len} jobs  {elapsed}{msg}"));
        head.enable_steady_tick(TICK);
        Self { all, head, jobs, ended: 0, began: Instant::now(), running: BTreeMap::new(), _quiet: Quiet::new() }
    }

    fn start(&mut self, job: &TableName) {
        let lines = self.running.values().filter(|line| line.bar.is_some()).count();
        let bar = (lines < MOST_LINES).then(|| {
            let bar = self.all.insert_before(&self.head, ProgressBar::new_spinner());
            bar.set_style(style("{spinner} {prefix:28!} {wide_msg}"));
            bar.set_prefix(job.to_string());
            bar.set_message("planning");
            bar.enable_steady_tick(TICK);
            bar
        });
        self.running.insert(job.clone(), Line { bar, began: Instant::now(), reached: Reached::default() });
    }

    fn reach(&mut self, job: &TableName, reached: Reached) {
        let Some(line) = self.running.get_mut(job) else { return };
        line.reached = reached;
        if let Some(bar) = &line.bar {
            bar.set_message(words(reached, line.began.elapsed(), room()));
        }
        self.estimate();
    }

    fn end(&mut self, job: &TableName, is_final: bool) {
        if let Some(Line { bar: Some(bar), .. }) = self.running.remove(job) {
            bar.finish_and_clear();
        }
        if is_final {
            self.ended += 1;
            self.head.set_position(self.ended as u64);
        }
        self.estimate();
    }

    fn estimate(&self) {
        let running: f64 = self.running.values().map(|line| share(line.reached)).sum();
        #[allow(clippy::cast_precision_loss, reason = "for people")]
        let part = (self.ended as f64 + running) / (self.jobs.max(1) as f64);
        self.head.set_message(match left(part, self.began.elapsed()) {
            Some(seconds) => format!("  about {seconds} s left"),
            None => String::new(),
        });
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

/// Part of a job's tasks that ended.
fn share(reached: Reached) -> f64 {
    #[allow(clippy::cast_precision_loss, reason = "for people")]
    let share = reached.done as f64 / (reached.tasks.max(1) as f64);
    share
}

/// Whole seconds left when all parts take as long as those before.
fn left(part: f64, elapsed: Duration) -> Option<u64> {
    if elapsed < FIRST_ESTIMATE || part <= 0.0 || part >= 1.0 {
        return None;
    }
    Duration::try_from_secs_f64(elapsed.as_secs_f64() * (1.0 - part) / part).ok().map(|left| left.as_secs().max(1))
}

/// Columns for what a job has done, behind the spinner and its name.
fn room() -> usize {
    width().unwrap_or(usize::MAX).saturating_sub(BEFORE)
}

/// What a running job has done so far, as far as there is room: what matters least is left out first.
fn words(reached: Reached, elapsed: Duration, room: usize) -> String {
    // With the order in which they are left out; the first one stays.
    let mut parts = vec![(0, format!("{}/{} tasks", reached.done, reached.tasks))];
    if reached.rows > 0 {
        parts.push((2, format!("{} rows read", count(reached.rows))));
    }
    if reached.bytes > 0 {
        parts.push((3, size(reached.bytes)));
    }
    let seconds = elapsed.as_secs_f64();
    if reached.bytes > 0 && seconds >= 1.0 {
        #[allow(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "for people"
        )]
        let rate = (reached.bytes as f64 / seconds) as u64;
        parts.push((1, format!("{}/s", size(rate))));
    }
    let mut most = 3;
    loop {
        let shown: Vec<&str> = parts.iter().filter(|(rank, _)| *rank <= most).map(|(_, part)| part.as_str()).collect();
        let text = shown.join("  ");
        if most == 0 || text.chars().count() <= room {
            return text;
        }
        most -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_running_job_says_what_is_known() {
        let reached = Reached { done: 3, tasks: 8, rows: 0, bytes: 0 };
        assert_eq!(words(reached, Duration::from_secs(9), 169), "3/8 tasks");
        let reached = Reached { rows: 1_234_567, bytes: 40 << 20, ..reached };
        assert_eq!(words(reached, Duration::from_millis(500), 169), "3/8 tasks  1,234,567 rows read  40.0 MiB");
        assert_eq!(words(reached, Duration::from_secs(4), 169), "3/8 tasks  1,234,567 rows read  40.0 MiB  10.0 MiB/s");
    }

    #[test]
    fn a_narrow_terminal_shows_what_matters_most() {
        let reached = Reached { done: 12, tasks: 16, rows: 123_456_789, bytes: 40 << 20 };
        for (columns, expected) in [
            (200, "12/16 tasks  123,456,789 rows read  40.0 MiB  10.0 MiB/s"),
            (80, "12/16 tasks  123,456,789 rows read  10.0 MiB/s"),
            (60, "12/16 tasks  10.0 MiB/s"),
            (40, "12/16 tasks"),
        ] {
            let text = words(reached, Duration::from_secs(4), columns - BEFORE);
            assert_eq!(text, expected);
            assert!(columns == 40 || text.len() + BEFORE <= columns, "{columns}");
        }
    }

    #[test]
    fn the_time_left_follows_from_what_is_done() {
        assert_eq!(left(0.25, Duration::from_secs(10)), Some(30));
        assert_eq!(left(0.999, Duration::from_secs(10)), Some(1));
        assert_eq!(left(0.5, Duration::from_secs(1)), None);
        assert_eq!(left(0.0, Duration::from_secs(10)), None);
        assert_eq!(left(1.0, Duration::from_secs(10)), None);
    }
}
