//! Selects jobs by patterns: one job, all of a layer, a job with everything upstream or downstream.

use std::collections::BTreeSet;

use super::Graph;
use crate::diagnostic;
use crate::error::{Error, Result};
use crate::name::TableName;
use crate::project;

/// Before a tag, in a pattern.
pub(crate) const TAG: &str = "tag:";

impl Graph {
    /// The jobs that match the patterns, in the graph's order. `*` matches any text, and `tag:daily` the jobs with this tag; a leading
    /// `+` adds all upstream jobs, and a trailing one all downstream jobs.
    ///
    /// # Errors
    /// `Invalid` for a pattern that matches no job.
    pub fn matching<S: AsRef<str>>(&self, patterns: &[S]) -> Result<Vec<TableName>> {
        let mut chosen = BTreeSet::new();
        for pattern in patterns.iter().map(AsRef::as_ref) {
            let (upstream, rest) = pattern.strip_prefix('+').map_or((false, pattern), |rest| (true, rest));
            let (downstream, name) = rest.strip_suffix('+').map_or((false, rest), |rest| (true, rest));
            for job in self.named(name, pattern)? {
                if upstream {
                    self.reach(&job, &mut chosen, |job| self.upstream(job).cloned().collect());
                }
                if downstream {
                    self.reach(&job, &mut chosen, |job| self.downstream(job).cloned().collect());
                }
                chosen.insert(job);
            }
        }
        Ok(self.order.iter().filter(|job| chosen.contains(*job)).cloned().collect())
    }

    fn named(&self, name: &str, pattern: &str) -> Result<Vec<TableName>> {
        if let Some(tag) = name.strip_prefix(TAG) {
            return self.tagged(tag);
        }
        if !name.contains('*') {
            let job: TableName = name.parse().map_err(|error| self.of_layer(name).unwrap_or(error))?;
            return match self.contains(&job) {
                true => Ok(vec![job]),
                false => Err(project::unknown_job(&job, self.upstream.keys())),
            };
        }
        let found: Vec<TableName> = self.order.iter().filter(|job| is_like(&job.to_string(), name)).cloned().collect();
        match found.is_empty() {
            true => Err(Error::invalid(format!("no job is like `{pattern}`: `pulse graph` shows all jobs"))),
            false => Ok(found),
        }
    }

    fn tagged(&self, tag: &str) -> Result<Vec<TableName>> {
        let jobs = self.tags.get(tag).into_iter().flatten();
        let found: Vec<TableName> = jobs.filter(|job| self.contains(job)).cloned().collect();
        match found.is_empty() {
            true => Err(Error::invalid(format!("no job has the tag `{tag}`: {}", no_tag(tag, self.tags.keys())))),
            false => Ok(found),
        }
    }

    /// The error for a name without its layer, where a job has it.
    fn of_layer(&self, name: &str) -> Option<Error> {
        let job = self.order.iter().find(|job| job.table() == name)?;
        Some(Error::invalid(format!("`{name}` lacks its layer: did you mean `{job}`?")))
    }

    /// Adds all jobs reachable from `job` through `next`, without `job` itself.
    fn reach(&self, job: &TableName, chosen: &mut BTreeSet<TableName>, next: impl Fn(&TableName) -> Vec<TableName>) {
        let mut seen = BTreeSet::new();
        let mut waiting = next(job);
        while let Some(job) = waiting.pop() {
            if seen.insert(job.clone()) {
                waiting.extend(next(&job));
            }
        }
        chosen.extend(seen);
    }
}

/// What to do about a tag that no job has.
pub(crate) fn no_tag<'a>(tag: &str, known: impl Iterator<Item = &'a String> + Clone) -> String {
    match diagnostic::closest(tag, known.clone().map(String::as_str)) {
        Some(meant) => format!("did you mean `{TAG}{meant}`?"),
        None if known.clone().next().is_none() => "write `tags = [..]` in the job.toml of its jobs".to_owned(),
        None => format!("there is {}", known.map(|tag| format!("`{TAG}{tag}`")).collect::<Vec<_>>().join(", ")),
    }
}

/// Whether a text matches a pattern with `*`.
pub fn is_like(text: &str, pattern: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = parts.next().and_then(|first| text.strip_prefix(first)) else { return false };
    let parts: Vec<&str> = parts.collect();
    let Some((last, middle)) = parts.split_last() else { return rest.is_empty() };
    for part in middle {
        match rest.find(part) {
            Some(place) => rest = &rest[place + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn graph() -> Graph {
        let edges = [("bronze.a", ""), ("silver.a", "bronze.a"), ("silver.b", "bronze.a"), ("gold.c", "silver.a")];
        let parse = |name: &str| name.parse::<TableName>().unwrap();
        let edges: BTreeMap<TableName, BTreeSet<TableName>> = edges
            .iter()
            .map(|(job, reads)| {
                (parse(job), Some(*reads).filter(|name| !name.is_empty()).map(parse).into_iter().collect())
            })
            .collect();
        Graph::from_upstream(edges).unwrap()
    }

    #[test]
    fn patterns_name_jobs_and_their_neighbours() {
        let names = |pattern: &str| -> String {
            let found = graph().matching(&[pattern]).unwrap();
            found.iter().map(TableName::to_string).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(names("silver.a"), "silver.a");
        assert_eq!(names("silver.*"), "silver.a silver.b");
        assert_eq!(names("*.a"), "bronze.a silver.a");
        assert_eq!(names("+silver.a"), "bronze.a silver.a");
        assert_eq!(names("silver.a+"), "silver.a gold.c");
        assert_eq!(names("+silver.a+"), "bronze.a silver.a gold.c");
        assert_eq!(names("bronze.*+"), "bronze.a silver.a gold.c silver.b");
        assert_eq!(graph().matching(&["gold.c", "bronze.a"]).unwrap().len(), 2);
    }

    #[test]
    fn tags_name_jobs_and_their_neighbours() {
        let mut graph = graph();
        let tagged = [("daily", "silver.b"), ("daily", "bronze.a"), ("pii", "silver.a"), ("old", "gold.gone")];
        for (tag, job) in tagged {
            graph.tags.entry(tag.to_owned()).or_default().insert(job.parse().unwrap());
        }
        let names = |pattern: &str| -> String {
            let found = graph.matching(&[pattern]).unwrap();
            found.iter().map(TableName::to_string).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(names("tag:daily"), "bronze.a silver.b");
        assert_eq!(names("+tag:pii"), "bronze.a silver.a");
        assert_eq!(names("tag:pii+"), "silver.a gold.c");
        let wrong = |pattern: &str| graph.matching(&[pattern]).unwrap_err().to_string();
        assert_eq!(wrong("tag:dayly"), "no job has the tag `dayly`: did you mean `tag:daily`?");
        assert_eq!(wrong("tag:x"), "no job has the tag `x`: there is `tag:daily`, `tag:old`, `tag:pii`");
        assert!(wrong("tag:old").contains("no job has"));
    }

    #[test]
    fn a_pattern_that_names_nothing_is_refused() {
        for pattern in ["silver.x", "silver", "platinum.*", "+", "a*b"] {
            assert!(graph().matching(&[pattern]).is_err(), "{pattern}");
        }
        let error = graph().matching(&["c"]).unwrap_err();
        assert_eq!(error.message(), "`c` lacks its layer: did you mean `gold.c`?");
        assert!(is_like("silver.bars", "s*.b*s") && !is_like("silver.bars", "silver") && !is_like("ab", "ab*b"));
    }
}
