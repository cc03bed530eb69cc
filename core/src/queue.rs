//! Whose turn it is: named queues share what a scheduler may do at once.
//!
//! A queue has a weight, a priority and, if wanted, a limit. Of the queues that have something waiting and are below their limit, those of the
//! highest priority may take the next turn. Among them it goes to the one that had the fewest turns for its weight since it began to wait.
//! After [`PASSED_OVER`] turns in a row that others of a lower priority waited for, these others may take one, whatever their priorities.
//!
//! Within a queue the order is first come, first served. What has begun is never stopped.

use std::collections::BTreeMap;
use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::name::is_identifier;

/// Turns that queues of the highest priority get before those of lower priorities have one.
pub const PASSED_OVER: u32 = 8;
const MAX_WEIGHT: u32 = 1_000;
const MAX_PRIORITY: u8 = 9;
const MAX_QUEUES: usize = 100;

/// The name of a queue, `[a-z][a-z0-9_]*`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct QueueName(String);

impl QueueName {
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

impl Default for QueueName {
    /// Where everything waits that names no queue.
    fn default() -> Self {
        Self("default".to_owned())
    }
}

impl FromStr for QueueName {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match is_identifier(text) && text.len() <= 64 {
            true => Ok(Self(text.to_owned())),
            false => Err(Error::invalid(format!(
                "`{text}` is no name of a queue: use at most 64 lower-case letters, digits and `_`, a letter first"
            ))),
        }
    }
}

impl TryFrom<String> for QueueName {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl From<QueueName> for String {
    fn from(name: QueueName) -> Self {
        name.0
    }
}

impl fmt::Display for QueueName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// How a queue shares with the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueueOptions {
    pub weight: NonZeroU32,
    /// A higher one goes first.
    pub priority: u8,
    /// Runs at once; as many as the scheduler has when none.
    pub runs: Option<usize>,
}

impl Default for QueueOptions {
    fn default() -> Self {
        Self { weight: NonZeroU32::MIN, priority: 0, runs: None }
    }
}

/// The queues of a scheduler, by name. There is always one called `default`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Queues(BTreeMap<QueueName, QueueOptions>);

impl Default for Queues {
    fn default() -> Self {
        Self([(QueueName::default(), QueueOptions::default())].into())
    }
}

impl Queues {
    /// Reads the setting `queues`: `etl weight=3; nightly runs=2; urgent priority=1`.
    ///
    /// # Errors
    /// `Invalid` for an entry that is none, with what is wrong in it.
    pub fn parse(text: &str) -> Result<Self> {
        let mut queues = Self::default();
        let mut named = Vec::new();
        for entry in text.split(';').map(str::trim).filter(|entry| !entry.is_empty()) {
            let mut words = entry.split_whitespace();
            let name: QueueName = words.next().unwrap_or_default().parse().map_err(|e| wrong(entry, &e))?;
            let mut options = QueueOptions::default();
            let mut keys = Vec::new();
            for word in words {
                let key = word.split('=').next().unwrap_or_default();
                if keys.contains(&key) {
                    return Err(wrong(entry, &Error::invalid(format!("`{key}` is there twice: remove one"))));
                }
                keys.push(key);
                options.set(word).map_err(|e| wrong(entry, &e))?;
            }
            if named.contains(&name) {
                return Err(Error::invalid(format!("`queues` names the queue `{name}` twice: remove one")));
            }
            queues.0.insert(name.clone(), options);
            named.push(name);
        }
        match queues.0.len() > MAX_QUEUES {
            true => {
                Err(Error::invalid(format!("`queues` has {} queues, and {MAX_QUEUES} are allowed", queues.0.len())))
            }
            false => Ok(queues),
        }
    }

    /// # Errors
    /// `Invalid` for a queue that does not exist, with those that do.
    pub fn check(&self, name: &QueueName) -> Result<()> {
        match self.0.contains_key(name) {
            true => Ok(()),
            false => {
                let known: Vec<&str> = self.0.keys().map(|known| known.0.as_str()).collect();
                Err(Error::invalid(format!(
                    "this scheduler has no queue `{name}`; it has {} (setting `queues` of the scheduler)",
                    known.join(", ")
                )))
            }
        }
    }

    /// The same queues without limits of runs.
    #[must_use]
    pub fn without_limits(&self) -> Self {
        let free =
            |(name, options): (&QueueName, &QueueOptions)| (name.clone(), QueueOptions { runs: None, ..*options });
        Self(self.0.iter().map(free).collect())
    }

    /// Whether something may wait in another queue than `default`.
    pub fn has_several(&self) -> bool {
        self.0.len() > 1
    }

    pub fn iter(&self) -> impl Iterator<Item = (&QueueName, &QueueOptions)> {
        self.0.iter()
    }

    fn options(&self, name: &QueueName) -> QueueOptions {
        self.0.get(name).copied().unwrap_or_default()
    }
}

fn wrong(entry: &str, error: &Error) -> Error {
    Error::invalid(format!("`queues`: `{entry}`: {}", error.message()))
}

impl QueueOptions {
    fn set(&mut self, word: &str) -> Result<()> {
        let known = "write `weight=3`, `runs=2` or `priority=1`";
        let (key, value) =
            word.split_once('=').ok_or_else(|| Error::invalid(format!("`{word}` has no value: {known}")))?;
        let out_of_range = |most: u64| Error::invalid(format!("`{key}` cannot be `{value}`: write 1 to {most}"));
        match key {
            "weight" => {
                let weight = value.parse().ok().filter(|weight| *weight <= MAX_WEIGHT).and_then(NonZeroU32::new);
                self.weight = weight.ok_or_else(|| out_of_range(MAX_WEIGHT.into()))?;
            }
            "runs" => {
                let runs = value.parse().ok().filter(|runs| (1..=10_000).contains(runs));
                self.runs = Some(runs.ok_or_else(|| out_of_range(10_000))?);
            }
            "priority" => {
                let priority = value.parse().ok().filter(|priority| *priority <= MAX_PRIORITY);
                self.priority = priority.ok_or_else(|| {
                    Error::invalid(format!("`priority` cannot be `{value}`: write 0 to {MAX_PRIORITY}"))
                })?;
            }
            _ => return Err(Error::invalid(format!("there is no `{key}`: {known}"))),
        }
        Ok(())
    }
}

/// What waits and what has begun, in all queues. `T` is what waits; `K` its key, in the order of arrival.
#[derive(Debug)]
pub struct Turns<K, T> {
    queues: Queues,
    /// Holders at once, of all queues.
    most: usize,
    lines: BTreeMap<QueueName, Line<K, T>>,
    holders: BTreeMap<K, QueueName>,
    /// Turns in a row that queues of a lower priority waited for.
    passed_over: u32,
}

#[derive(Debug)]
struct Line<K, T> {
    waiting: BTreeMap<K, T>,
    holders: usize,
    /// Turns since it began to wait, in units of 1 / weight.
    turns: f64,
}

/// The state of one queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueState<K> {
    pub holders: usize,
    pub waiting: usize,
    pub oldest: Option<K>,
}

impl<K: Ord + Clone, T> Turns<K, T> {
    pub fn new(queues: Queues, most: usize) -> Self {
        Self { queues, most, lines: BTreeMap::new(), holders: BTreeMap::new(), passed_over: 0 }
    }

    /// Adds what waits. A queue that is not declared any more counts as one without options.
    pub fn wait(&mut self, queue: &QueueName, key: K, waiting: T) {
        // A queue that had nothing waiting has saved up no turns.
        let others = self.lines.values().filter(|line| !line.waiting.is_empty()).map(|line| line.turns);
        let least = others.fold(f64::INFINITY, f64::min);
        let line = self.lines.entry(queue.clone()).or_insert_with(Line::new);
        if line.waiting.is_empty() && least.is_finite() {
            line.turns = line.turns.max(least);
        }
        line.waiting.insert(key, waiting);
    }

    /// What begins now, if anything may. It holds its place until [`Self::release`].
    pub fn next_turn(&mut self) -> Option<(K, T)> {
        if self.holders.len() >= self.most {
            return None;
        }
        let (chosen, passes_over) = self.chosen()?;
        self.passed_over = if passes_over { self.passed_over.saturating_add(1) } else { 0 };
        let weight = f64::from(self.queues.options(&chosen).weight.get());
        let line = self.lines.get_mut(&chosen)?;
        let (key, waiting) = line.waiting.pop_first()?;
        line.turns += 1.0 / weight;
        line.holders += 1;
        self.holders.insert(key.clone(), chosen);
        Some((key, waiting))
    }

    /// Takes what waits out of turn, and lets it hold a place beyond all limits.
    pub fn at_once(&mut self, key: &K) -> Option<T> {
        let (name, line) = self.lines.iter_mut().find(|(_, line)| line.waiting.contains_key(key))?;
        let waiting = line.waiting.remove(key)?;
        line.holders += 1;
        self.holders.insert(key.clone(), name.clone());
        Some(waiting)
    }

    /// Takes back what waits.
    pub fn forget(&mut self, key: &K) -> Option<T> {
        self.lines.values_mut().find_map(|line| line.waiting.remove(key))
    }

    /// What held a place has ended.
    pub fn release(&mut self, key: &K) {
        let Some(name) = self.holders.remove(key) else { return };
        if let Some(line) = self.lines.get_mut(&name) {
            line.holders = line.holders.saturating_sub(1);
        }
        // Names come from outside: those of queues without options are not kept.
        self.lines
            .retain(|name, line| self.queues.0.contains_key(name) || !line.waiting.is_empty() || line.holders > 0);
    }

    pub fn is_waiting(&self, key: &K) -> bool {
        self.lines.values().any(|line| line.waiting.contains_key(key))
    }

    pub fn holds(&self, key: &K) -> bool {
        self.holders.contains_key(key)
    }

    pub fn waiting(&self) -> usize {
        self.lines.values().map(|line| line.waiting.len()).sum()
    }

    pub fn held(&self) -> usize {
        self.holders.len()
    }

    /// Of all queues that are declared, and of others that something waits in or holds.
    pub fn states(&self) -> BTreeMap<QueueName, QueueState<K>> {
        let declared = self.queues.iter().map(|(name, _)| (name.clone(), QueueState::none()));
        let mut states: BTreeMap<_, _> = declared.collect();
        for (name, line) in &self.lines {
            let oldest = line.waiting.keys().next().cloned();
            states.insert(name.clone(), QueueState { holders: line.holders, waiting: line.waiting.len(), oldest });
        }
        states
    }

    /// Whose turn it is, and whether a queue of a lower priority could have had it.
    fn chosen(&self) -> Option<(QueueName, bool)> {
        let may_begin = |name: &QueueName, line: &Line<K, T>| {
            !line.waiting.is_empty() && self.queues.options(name).runs.is_none_or(|runs| line.holders < runs)
        };
        let ready: Vec<_> = self.lines.iter().filter(|(name, line)| may_begin(name, line)).collect();
        let priority = |name: &QueueName| self.queues.options(name).priority;
        let highest = ready.iter().map(|(name, _)| priority(name)).max()?;
        let has_lower = ready.iter().any(|(name, _)| priority(name) < highest);
        let is_turn_of_lower = has_lower && self.passed_over >= PASSED_OVER;
        let first = |line: &Line<K, T>| line.waiting.keys().next().cloned();
        let (name, _) = ready.into_iter().filter(|(name, _)| (priority(name) < highest) == is_turn_of_lower).min_by(
            |(_, one), (_, other)| one.turns.total_cmp(&other.turns).then_with(|| first(one).cmp(&first(other))),
        )?;
        Some((name.clone(), has_lower && !is_turn_of_lower))
    }
}

impl<K, T> Line<K, T> {
    fn new() -> Self {
        Self { waiting: BTreeMap::new(), holders: 0, turns: 0.0 }
    }
}

impl<K> QueueState<K> {
    fn none() -> Self {
        Self { holders: 0, waiting: 0, oldest: None }
    }
}

#[cfg(test)]
mod tests;
