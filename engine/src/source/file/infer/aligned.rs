//! Fields at fixed places, as the blanks of the lines suggest.

use pulse_core::sources::{FixedField, FixedWidth, Format};

use super::sniff::{is_header, told_apart};

/// Lines that are looked at.
const LINES: usize = 500;
/// Fewer lines do not tell a gap from a blank between two words.
const LEAST_LINES: usize = 4;

/// A file whose fields lie at fixed places.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Aligned {
    pub(super) fixed: FixedWidth,
    pub(super) names: Vec<String>,
    /// Values of each field.
    pub(super) values: Vec<Vec<String>>,
}

/// `None` where no places are blank in all lines, or too few lines are there to tell.
pub(super) fn aligned(text: &str) -> Option<Aligned> {
    let lines: Vec<Vec<char>> =
        text.lines().filter(|line| !line.trim().is_empty()).map(|line| line.chars().collect()).collect();
    let seen = lines.get(..LINES).unwrap_or(&lines);
    if seen.len() < LEAST_LINES || text.contains('\t') {
        return None;
    }
    let spans = spans(seen);
    if spans.len() < 2 {
        return None;
    }
    let places = places(seen, &spans);
    let cut = |line: &Vec<char>| -> Vec<String> {
        let part = |(start, end): &(usize, usize)| line.get(*start..(*end).min(line.len())).unwrap_or_default();
        places.iter().map(|place| part(place).iter().collect::<String>().trim().to_owned()).collect()
    };
    let records: Vec<Vec<String>> = lines.iter().map(cut).collect();
    let header = is_header(&records);
    let names: Vec<String> = match records.first() {
        Some(names) if header => told_apart(names),
        _ => (1..=places.len()).map(|number| format!("c{number}")).collect(),
    };
    let field = |((start, end), name): (&(usize, usize), &String)| {
        let (start, width) = (u32::try_from(start + 1).ok()?, u32::try_from(end - start).ok()?);
        Some(FixedField { name: name.clone(), start, width })
    };
    let fields = places.iter().zip(&names).map(field).collect::<Option<Vec<_>>>()?;
    let options = serde_json::json!({ "fixed_width": {
        "fields": fields, "skip_lines": u8::from(header), "ragged": if is_ragged(&lines, &places) { "null" } else { "reject" },
    } });
    let Ok(Format::FixedWidth(fixed)) = serde_json::from_value(options) else { return None };
    let rows = records.get(usize::from(header)..).unwrap_or_default();
    let values = (0..names.len()).map(|at| rows.iter().filter_map(|row| row.get(at).cloned()).collect()).collect();
    Some(Aligned { fixed: *fixed, names, values })
}

/// Places that are not blank in every line, as far as they lie side by side: first and behind the last.
fn spans(lines: &[Vec<char>]) -> Vec<(usize, usize)> {
    let length = lines.iter().map(Vec::len).max().unwrap_or_default();
    let is_used = |at: usize| lines.iter().any(|line| line.get(at).is_some_and(|letter| *letter != ' '));
    let mut spans: Vec<(usize, usize)> = Vec::new();
    for at in (0..length).filter(|at| is_used(*at)) {
        match spans.last_mut() {
            Some((_, end)) if *end == at => *end = at + 1,
            _ => spans.push((at, at + 1)),
        }
    }
    spans
}

/// A gap belongs to the field behind it if that field's values end alike, as those of numbers do, and to the field before it if not.
fn places(lines: &[Vec<char>], spans: &[(usize, usize)]) -> Vec<(usize, usize)> {
    let at = |line: &Vec<char>, place: usize| line.get(place).is_some_and(|letter| *letter != ' ');
    let ends_alike = |(start, end): &(usize, usize)| {
        let filled = lines.iter().filter(|line| (*start..*end).any(|place| at(line, place)));
        let starts_alike = lines.iter().all(|line| at(line, *start));
        filled.clone().all(|line| at(line, end - 1)) && !starts_alike
    };
    let mut places: Vec<(usize, usize)> = Vec::with_capacity(spans.len());
    for span in spans {
        let (start, end) = *span;
        match places.last_mut() {
            None => places.push((if ends_alike(span) { 0 } else { start }, end)),
            Some((_, before)) if ends_alike(span) => {
                let before = *before;
                places.push((before, end));
            }
            Some((_, before)) => {
                *before = start;
                places.push((start, end));
            }
        }
    }
    places
}

/// Whether lines end before the last field does.
fn is_ragged(lines: &[Vec<char>], places: &[(usize, usize)]) -> bool {
    places.last().is_some_and(|(_, end)| lines.iter().any(|line| line.len() < *end))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        let Some(Aligned { fixed, names, values }) = aligned(text) else { return "none".to_owned() };
        let fields: Vec<String> =
            fixed.fields.iter().map(|field| format!("{}@{}+{}", field.name, field.start, field.width)).collect();
        format!(
            "{} skip={} {:?} {}",
            fields.join(" "),
            fixed.skip_lines,
            fixed.ragged,
            values[names.len() - 1].join("|")
        )
    }

    #[test]
    fn gaps_that_all_lines_have() {
        let text = "symbol     price  note\nAAPL      181.25  first\nMSFT        9.50\nBRK.B  541200.00  a b\n";
        assert_eq!(shown(text), "symbol@1+6 price@7+12 note@19+5 skip=1 Null first||a b");
        let text = "20240102 AAPL      5\n20240102 MSFT     15\n20240103 GOOG   1500\n20240104 BRK.B     1\n";
        assert_eq!(shown(text), "c1@1+9 c2@10+5 c3@15+6 skip=0 Reject 5|15|1500|1");
    }

    #[test]
    fn prose_and_short_files_have_none() {
        assert_eq!(shown("a b\nc d\ne f\n"), "none");
        assert_eq!(shown("it is a\nlong text of\nseveral lines that\nis no table at all\n"), "none");
        assert_eq!(shown("one\ntwo\nthree\nfour\n"), "none");
    }
}
