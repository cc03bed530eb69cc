//! Splits the rows to read into ranges: SQL conditions such that each row meets exactly one.

/// Pages that one query reads: 32 MiB with pages of 8 KiB.
pub(crate) const PAGES: i64 = 4096;

/// Types of bookmarks, as SQL writes them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MarkType {
    Whole,
    Date,
    Timestamp,
    Timestamptz,
}

/// A bookmark column, in SQL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mark {
    pub(crate) field: String,
    pub(crate) data_type: MarkType,
    pub(crate) margin: u32,
}

/// One query, and the files of its rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Range {
    pub(crate) name: String,
    /// Empty for all rows.
    pub(crate) condition: String,
    pub(crate) stays: bool,
    /// Whether a file is written even if there are no rows.
    pub(crate) never_none: bool,
}

impl Mark {
    /// The query for the next cut: never below the last one, null if there is no usable value.
    pub(crate) fn next_cut(&self, from: &str, last: Option<&str>) -> String {
        let Self { field, margin, .. } = self;
        let (rows, less) = match self.data_type {
            MarkType::Whole => {
                ("true".to_owned(), format!("greatest(max({field})::numeric - {margin}, -9223372036854775808)::int8"))
            }
            MarkType::Date => (self.past("current_date"), format!("max({field}) - {margin}")),
            MarkType::Timestamp => {
                (self.past("localtimestamp"), format!("max({field}) - make_interval(secs => {margin})"))
            }
            MarkType::Timestamptz => (self.past("now()"), format!("max({field}) - make_interval(secs => {margin})")),
        };
        let last = last.map_or("null".to_owned(), |last| self.literal(last));
        format!("select greatest({last}, {less})::text from {from} where {rows}")
    }

    /// Leaves out infinities and timestamps in the future: one written by a wrong clock would hide all rows until then.
    /// Can use an index.
    fn past(&self, now: &str) -> String {
        format!("{} > '-infinity' and {} <= {now}", self.field, self.field)
    }

    fn literal(&self, text: &str) -> String {
        let name = match self.data_type {
            MarkType::Whole => "int8",
            MarkType::Date => "date",
            MarkType::Timestamp => "timestamp",
            MarkType::Timestamptz => "timestamptz",
        };
        format!("'{}'::{name}", text.replace('\'', "''"))
    }

    fn has_infinities(&self) -> bool {
        self.data_type != MarkType::Whole
    }

    /// Rows that no later run reads again.
    fn closed(&self, from: Option<&str>, to: &str) -> String {
        let field = &self.field;
        let lower = match from {
            Some(from) => format!("{field} >= {} and ", self.literal(from)),
            None if self.has_infinities() => format!("{field} > '-infinity' and "),
            None => String::new(),
        };
        format!("{lower}{field} < {}", self.literal(to))
    }

    /// All other rows, which each run reads again.
    fn open(&self, from: &str) -> String {
        let field = &self.field;
        let lowest = if self.has_infinities() { format!(" or {field} = '-infinity'") } else { String::new() };
        format!("({field} >= {} or {field} is null{lowest})", self.literal(from))
    }
}

/// All rows.
pub(crate) fn whole(pages: Option<i64>) -> Vec<Range> {
    let range = |(at, condition): (usize, String)| Range {
        name: format!("w-{at:06}"),
        condition,
        stays: false,
        never_none: at == 0,
    };
    by_pages(pages).into_iter().enumerate().map(range).collect()
}

/// Ranges since the last cut: rows up to the next cut, which are read for the last time, and the rest. `number` is that
/// of the manifest that will list them.
pub(crate) fn since(
    mark: &Mark,
    last: Option<&str>,
    next: Option<&str>,
    number: u64,
    pages: Option<i64>,
) -> Vec<Range> {
    let open = |condition| Range { name: "t".to_owned(), condition, stays: false, never_none: true };
    let Some(next) = next else { return vec![open(String::new())] };
    let mut ranges = Vec::new();
    if last != Some(next) {
        let closed = mark.closed(last, next);
        // New rows are found through an index; ranges of pages would scan all pages.
        let pages = pages.filter(|_| last.is_none());
        for (at, pages) in by_pages(pages).into_iter().enumerate() {
            let condition = if pages.is_empty() { closed.clone() } else { format!("{pages} and {closed}") };
            ranges.push(Range { name: format!("c{number:08}-{at:06}"), condition, stays: true, never_none: false });
        }
    }
    ranges.push(open(mark.open(next)));
    ranges
}

/// The last range is open: child tables have their own page counts.
fn by_pages(pages: Option<i64>) -> Vec<String> {
    let mut ranges = Vec::new();
    let mut start = 0;
    while let Some(pages) = pages.filter(|pages| *pages > start + PAGES) {
        let end = (start + PAGES).min(pages);
        ranges.push(format!("ctid >= '({start},0)'::tid and ctid < '({end},0)'::tid"));
        start = end;
    }
    ranges.push(if start == 0 { String::new() } else { format!("ctid >= '({start},0)'::tid") });
    ranges
}

#[cfg(test)]
mod tests {
    use super::*;

    fn conditions(ranges: &[Range]) -> Vec<&str> {
        ranges.iter().map(|range| range.condition.as_str()).collect()
    }

    #[test]
    fn pages_are_cut_without_a_gap_and_the_last_piece_is_open() {
        assert_eq!(conditions(&whole(None)), [""]);
        assert_eq!(conditions(&whole(Some(0))), [""]);
        assert_eq!(conditions(&whole(Some(PAGES))), [""]);
        assert_eq!(
            conditions(&whole(Some(2 * PAGES + 1))),
            [
                "ctid >= '(0,0)'::tid and ctid < '(4096,0)'::tid",
                "ctid >= '(4096,0)'::tid and ctid < '(8192,0)'::tid",
                "ctid >= '(8192,0)'::tid"
            ]
        );
    }

    #[test]
    fn a_row_is_read_for_the_last_time_or_again() {
        let mark = Mark { field: "u".into(), data_type: MarkType::Timestamptz, margin: 60 };
        let first = since(&mark, None, Some("2024-01-01 00:00:00+00"), 1, Some(1));
        assert_eq!(
            conditions(&first),
            [
                "u > '-infinity' and u < '2024-01-01 00:00:00+00'::timestamptz",
                "(u >= '2024-01-01 00:00:00+00'::timestamptz or u is null or u = '-infinity')"
            ]
        );
        assert_eq!(first.iter().map(|range| range.stays).collect::<Vec<_>>(), [true, false]);
        let id = Mark { field: "id".into(), data_type: MarkType::Whole, margin: 5 };
        assert_eq!(
            conditions(&since(&id, Some("5"), Some("9"), 2, Some(3 * PAGES))),
            ["id >= '5'::int8 and id < '9'::int8", "(id >= '9'::int8 or id is null)"]
        );
        assert_eq!(conditions(&since(&id, Some("9"), Some("9"), 3, None)), ["(id >= '9'::int8 or id is null)"]);
        assert_eq!(conditions(&since(&id, None, None, 1, Some(3 * PAGES))), [""]);
    }

    #[test]
    fn names_of_ranges_that_stay_are_never_used_again() {
        let id = Mark { field: "id".into(), data_type: MarkType::Whole, margin: 5 };
        let names = |number| -> Vec<String> {
            let ranges = since(&id, None, Some("9"), number, Some(2 * PAGES));
            ranges.into_iter().filter(|range| range.stays).map(|range| range.name).collect()
        };
        assert_eq!(names(1), ["c00000001-000000", "c00000001-000001"]);
        assert!(names(2).iter().all(|name| !names(1).contains(name)));
    }
}
