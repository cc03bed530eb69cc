//! All mistakes of a file's values: serde stops at the first one, so that its place is mended in a copy, and the copy is read again.

use std::ops::Range;

use serde::de::DeserializeOwned;
use toml::Spanned;
use toml::de::{DeArray, DeFloat, DeInteger, DeString, DeTable, DeValue, Error};

use super::{Step, meant, toml_words};

/// Limit of mistakes that are reported for one file.
const MOST: usize = 100;

/// The values as a type has them.
pub(super) fn read<T: DeserializeOwned>(root: &DeTable<'_>) -> Result<T, Error> {
    T::deserialize(toml::Deserializer::from(Spanned::new(0..0, root.clone())))
}

/// Each mistake of a file of `length` bytes, in the order of their places; none where there is none.
pub(super) fn all<T: DeserializeOwned>(root: &DeTable<'_>, length: usize) -> Vec<Error> {
    let mut search = Search { root: root.clone(), length, found: Vec::new(), excused: Vec::new() };
    // Each turn mends one place; some of them were no mistake of their own.
    for _ in 0..MOST {
        let Err(error) = read::<T>(&search.root) else { break };
        if !search.take::<T>(error) {
            break;
        }
    }
    let of_arrays: Vec<Range<usize>> =
        search.found.iter().filter(|error| is_array_for_table(error)).filter_map(Error::span).collect();
    let is_within = |outer: &Range<usize>, inner: &Range<usize>| {
        outer != inner && outer.start <= inner.start && inner.end <= outer.end
    };
    // Of an array that stands for a table, serde reads the items as values of keys.
    search.found.retain(|error| error.span().is_none_or(|span| !of_arrays.iter().any(|array| is_within(array, &span))));
    search.found.sort_by_key(|error| error.span().map_or(0, |span| span.start));
    search.found
}

fn is_array_for_table(error: &Error) -> bool {
    error.message().starts_with("invalid length ") && error.message().contains("expected struct ")
}

struct Search<'t> {
    root: DeTable<'t>,
    length: usize,
    found: Vec<Error>,
    /// Tables by their place, from which a key of this name was taken: that they lack it now is no mistake of the file.
    excused: Vec<(Range<usize>, String)>,
}

/// From the top to a key or an item.
type Path = Vec<Part>;

#[derive(Debug, Clone)]
enum Part {
    Key(String),
    Index(usize),
}

impl Search<'_> {
    /// Remembers a mistake and mends its place; false where it has no place.
    fn take<T: DeserializeOwned>(&mut self, error: Error) -> bool {
        let span = error.span().unwrap_or(0..0);
        let message = error.message().to_owned();
        let lacking = error.message().strip_prefix("missing field `").and_then(|rest| rest.split('`').next());
        let lacking = lacking.map(str::to_owned);
        let is_excused = |(table, key): &(Range<usize>, String)| {
            *table == span && lacking.as_ref().is_none_or(|lacking| lacking == key)
        };
        let is_known = |known: &Error| known.message() == error.message() && known.span() == error.span();
        let is_new = !self.excused.iter().any(is_excused) && !self.found.iter().any(is_known);
        let probably = meant(&toml_words(&message));
        // What stands behind the file's end was put there.
        if is_new && span.start <= self.length {
            self.found.push(error);
        }
        let mended = lacking.is_some_and(|key| self.supply::<T>(&span, &key, &message));
        mended || self.remove(&span, probably)
    }

    /// Puts some value in place of a key that a table lacks, as a message says.
    fn supply<T: DeserializeOwned>(&mut self, span: &Range<usize>, key: &str, lacks: &str) -> bool {
        let mark = self.length + 1 + self.found.len() + self.excused.len();
        let mut tables = Vec::new();
        walk(&self.root, &mut Vec::new(), &mut |path, _, value| {
            if value.span() == *span && value.get_ref().is_table() {
                tables.push(path.clone());
            }
        });
        if *span == (0..0) {
            tables.push(Path::new());
        }
        let mut values = vec![
            DeValue::String(DeString::from("")),
            DeValue::Integer(DeInteger::default()),
            DeValue::Float(DeFloat::default()),
            DeValue::Boolean(true),
            DeValue::Array(DeArray::new()),
            DeValue::Table(DeTable::new()),
        ];
        while let Some(value) = values.pop() {
            for path in &tables {
                let mut root = self.root.clone();
                let Some(table) = table_at(&mut root, path) else { continue };
                let key = Spanned::new(mark..mark, DeString::from(key.to_owned()));
                table.insert(key, Spanned::new(mark..mark, value.clone()));
                match read::<T>(&root) {
                    // Another table lacks it.
                    Err(error) if error.message() == lacks && error.span().as_ref() == Some(span) => {}
                    // It does not fit there.
                    Err(error) if error.span() == Some(mark..mark) => {
                        let named = error.message().strip_prefix("unknown variant ");
                        let named = named.and_then(|message| message.split('`').nth(3));
                        let is_first = matches!(&value, DeValue::String(text) if text.is_empty());
                        values.extend(named.filter(|_| is_first).map(|name| DeValue::String(name.to_owned().into())));
                    }
                    _ => {
                        self.root = root;
                        return true;
                    }
                }
            }
        }
        false
    }

    /// Takes the innermost key or item at a place out.
    fn remove(&mut self, span: &Range<usize>, probably: Option<String>) -> bool {
        let mut innermost: Option<Path> = None;
        walk(&self.root, &mut Vec::new(), &mut |path, key, value| {
            if value.span() == *span || key.is_some_and(|key| key == *span) {
                innermost = Some(path.clone());
            }
        });
        let Some((last, above)) = innermost.as_ref().and_then(|path| path.split_last()) else { return false };
        match last {
            Part::Key(key) => {
                let place = place_of(&self.root, above);
                self.excused.push((place.clone(), key.clone()));
                self.excused.extend(probably.map(|meant| (place, meant)));
                table_at(&mut self.root, above).is_some_and(|table| table.remove(key.as_str()).is_some())
            }
            Part::Index(index) => match value_at(&mut self.root, above).map(Spanned::get_mut) {
                Some(DeValue::Array(items)) => {
                    let kept = std::mem::replace(items, DeArray::new())
                        .into_iter()
                        .enumerate()
                        .filter(|(place, _)| place != index);
                    *items = kept.map(|(_, item)| item).collect();
                    true
                }
                _ => false,
            },
        }
    }
}

/// Is called with the path of a key or an item, the place of the key, and the value.
type Visit<'a> = &'a mut dyn FnMut(&Path, Option<Range<usize>>, &Spanned<DeValue<'_>>);

/// Visits each key and item, the outer ones first.
fn walk(table: &DeTable<'_>, path: &mut Path, visit: Visit<'_>) {
    for (key, value) in table {
        path.push(Part::Key(key.get_ref().to_string()));
        visit(path, Some(key.span()), value);
        walk_value(value, path, visit);
        path.pop();
    }
}

fn walk_value(value: &Spanned<DeValue<'_>>, path: &mut Path, visit: Visit<'_>) {
    match value.get_ref() {
        DeValue::Table(table) => walk(table, path, visit),
        DeValue::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                path.push(Part::Index(index));
                visit(path, None, item);
                walk_value(item, path, visit);
                path.pop();
            }
        }
        _ => {}
    }
}

fn value_at<'a, 't>(root: &'a mut DeTable<'t>, path: &[Part]) -> Option<&'a mut Spanned<DeValue<'t>>> {
    let (first, rest) = path.split_first()?;
    let Part::Key(key) = first else { return None };
    rest.iter().try_fold(root.get_mut(key.as_str())?, |value, part| match (value.get_mut(), part) {
        (DeValue::Table(table), Part::Key(key)) => table.get_mut(key.as_str()),
        (DeValue::Array(items), Part::Index(index)) => items.get_mut(*index),
        _ => None,
    })
}

fn table_at<'a, 't>(root: &'a mut DeTable<'t>, path: &[Part]) -> Option<&'a mut DeTable<'t>> {
    if path.is_empty() {
        return Some(root);
    }
    match value_at(root, path)?.get_mut() {
        DeValue::Table(table) => Some(table),
        _ => None,
    }
}

/// Where a table stands; nowhere, if it is the file.
fn place_of(root: &DeTable<'_>, path: &[Part]) -> Range<usize> {
    let steps: Vec<Step<'_>> = path
        .iter()
        .map(|part| match part {
            Part::Key(key) => Step::Key(key),
            Part::Index(index) => Step::Index(*index),
        })
        .collect();
    super::find(root, &steps).1
}

#[cfg(test)]
mod tests {
    use super::super::Document;
    use crate::manifest::Manifest;
    use crate::project::ProjectManifest;
    use crate::sources::Sources;
    use serde::de::DeserializeOwned;

    /// Line and the beginning of each message.
    fn told<T: DeserializeOwned>(text: &str) -> Vec<String> {
        let Err(problems) = Document::parse::<T>("x.toml", text) else { return Vec::new() };
        let short = |message: &str| {
            let first = message.split(", expected").next().unwrap_or_default();
            first.split(": there are").next().unwrap_or_default().to_owned()
        };
        problems.iter().map(|problem| format!("{}: {}", problem.line, short(&problem.message))).collect()
    }

    #[test]
    fn all_mistakes_of_a_manifest_are_told_at_once() {
        let text = "onwer = \"me\"\ngrain = \"x\"\ninterval = \"days\"\ntarget_file_mib = -1\n[sink.merge]\nkey = [\"x\"]\n\
                    lates = 1\n[source.\"raw.x\"]\nreed = \"all\"\nlookback = \"3 days\"\n[[expect]]\nname = 7\n\
                    on_fail = \"stop\"\n[[expect]]\nnam = \"b\"\nrows = { at_least = \"1\", atmost = 2 }\n";
        assert_eq!(
            told::<Manifest>(text),
            [
                "1: unknown key `onwer`",
                "2: invalid type: string \"x\"",
                "3: unknown value `days`",
                "4: invalid value: integer `-1`",
                "6: unknown key `key`",
                "7: unknown key `lates`",
                "9: unknown key `reed`",
                "10: invalid type: string \"3 days\"",
                "12: invalid type: integer `7`",
                "13: unknown value `stop`",
                "14: missing key `on_fail`",
                "15: unknown key `nam`",
                "16: invalid type: string \"1\"",
                "16: unknown key `atmost`",
            ]
        );
    }

    #[test]
    fn what_follows_from_a_mistake_is_none() {
        // The key that was meant is not missing, too; nor is one whose value is wrong, nor the sink that is misspelt.
        assert_eq!(told::<Manifest>("grian = []\n[sink.append]\n"), ["1: unknown key `grian`"]);
        assert_eq!(told::<Manifest>("grain = 1\n[sink.append]\n"), ["1: invalid type: integer `1`"]);
        assert_eq!(told::<Manifest>("grain = []\n[sink.apend]\n"), ["2: unknown value `apend`"]);
        assert_eq!(told::<Manifest>("grain = []\n[sink.append]\n"), [""; 0]);
        // These are.
        assert_eq!(
            told::<Manifest>("onwer = 1\n"),
            ["1: unknown key `onwer`", "1: missing key `grain`", "1: missing key `sink`"]
        );
        let columns = "grain = [1, \"a\", 2]\n[sink.append]\n";
        assert_eq!(told::<Manifest>(columns), ["1: invalid type: integer `1`", "1: invalid type: integer `2`"]);
    }

    #[test]
    fn tables_that_begin_at_one_place_are_told_apart() {
        let text = "[files.a.feed.f]\nformat.csv = { headr = true }\n[files.b]\nroot = 1\n";
        assert_eq!(
            told::<Sources>(text),
            [
                "1: missing key `path`",
                "1: missing key `root`",
                "1: missing key `columns`",
                "2: unknown key `headr`",
                "3: missing key `columns`",
                "3: missing key `feed`",
                "4: invalid type: integer `1`",
            ]
        );
        let project = "nam = \"p\"\n[defaults]\nowner = 1\ntarget = 2\n[variables]\nx = { type = \"intt\" }\ny = {}\n";
        assert_eq!(
            told::<ProjectManifest>(project),
            [
                "1: unknown key `nam`",
                "3: invalid type: integer `1`",
                "4: unknown key `target`",
                "6: `intt` is not a type",
                "7: missing key `type`",
            ]
        );
    }

    #[test]
    fn a_file_full_of_mistakes_ends() {
        let text = (0..300).map(|number| format!("x{number} = {number}\n")).collect::<String>();
        assert_eq!(told::<Manifest>(&text).len(), super::MOST);
    }
}
