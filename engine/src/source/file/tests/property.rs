use proptest::prelude::*;

use super::super::rows::ReadOptions;
use super::support::{bars, csv, read_with};

const HEADER: &str = "time,price,volume,note\n";

/// A change of one place in a file.
#[derive(Debug, Clone)]
enum Mutation {
    Replace(prop::sample::Index, u8),
    Insert(prop::sample::Index, Vec<u8>),
    Remove(prop::sample::Index, usize),
}

fn valid_file() -> Vec<u8> {
    let line = |at: i64| format!("2020-12-21 09:{:02}:00,{}.5,{},n{at}\n", at % 60, at * 3, at * 100);
    (0..40).map(line).collect::<String>().into_bytes()
}

fn mutated(mutations: &[Mutation]) -> Vec<u8> {
    let mut bytes = valid_file();
    for mutation in mutations {
        match mutation {
            Mutation::Replace(at, byte) => {
                let at = at.index(bytes.len());
                bytes[at] = *byte;
            }
            Mutation::Insert(at, inserted) => {
                let at = at.index(bytes.len());
                bytes.splice(at..at, inserted.iter().copied());
            }
            Mutation::Remove(at, length) => {
                let at = at.index(bytes.len());
                let end = (at + length).min(bytes.len() - 1);
                bytes.drain(at..end.max(at));
            }
        }
    }
    bytes
}

fn mutation(byte: impl Strategy<Value = u8> + Clone + 'static) -> impl Strategy<Value = Mutation> {
    let index = any::<prop::sample::Index>;
    prop_oneof![
        (index(), byte.clone()).prop_map(|(at, byte)| Mutation::Replace(at, byte)),
        (index(), prop::collection::vec(byte, 1..30)).prop_map(|(at, bytes)| Mutation::Insert(at, bytes)),
        (index(), 1_usize..40).prop_map(|(at, length)| Mutation::Remove(at, length)),
    ]
}

fn special() -> impl Strategy<Value = u8> + Clone {
    prop_oneof![any::<u8>(), prop::sample::select(b",\n\r\"0.-: e\0".to_vec())]
}

fn is_blank(line: &[u8]) -> bool {
    line.strip_suffix(b"\r").unwrap_or(line).iter().all(|byte| *byte == b' ')
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_line_without_quotes_is_kept_or_rejected(
        mutations in prop::collection::vec(mutation(special().prop_filter("quotes join lines", |byte| *byte != b'"')), 0..12),
        piece in 1_usize..600,
        batch_rows in 1_usize..50,
    ) {
        let bytes = [HEADER.as_bytes(), &mutated(&mutations)].concat();
        let options = ReadOptions { batch_rows, ..ReadOptions::default() };
        let rows = read_with(&bars(&csv()), &bytes, &options, piece);
        let expected: Vec<i64> =
            bytes.split(|byte| *byte == b'\n').zip(1..).skip(1).filter(|(line, _)| !is_blank(line)).map(|(_, at)| at).collect();
        prop_assert_eq!(rows.iter().map(|row| row.line).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn how_bytes_arrive_changes_nothing(
        mutations in prop::collection::vec(mutation(special()), 0..12),
        piece in 1_usize..600,
        batch_rows in 1_usize..50,
        max_line_bytes in 20_usize..500,
    ) {
        let bytes = [HEADER.as_bytes(), &mutated(&mutations)].concat();
        let options = |batch_rows| ReadOptions { batch_rows, max_line_bytes, ..ReadOptions::default() };
        let whole = read_with(&bars(&csv()), &bytes, &options(8192), usize::MAX);
        let pieces = read_with(&bars(&csv()), &bytes, &options(batch_rows), piece);
        prop_assert_eq!(&whole, &pieces);
        prop_assert!(whole.is_sorted_by(|a, b| a.line < b.line));
    }

    #[test]
    fn an_untouched_line_survives(mutations in prop::collection::vec(mutation(special()), 0..12)) {
        let last = "2020-12-22 09:31:00,1.5,2,last";
        let bytes = [HEADER.as_bytes(), &mutated(&mutations), b"\n", last.as_bytes(), b"\n", last.as_bytes()].concat();
        let rows = read_with(&bars(&csv()), &bytes, &ReadOptions::default(), usize::MAX);
        let expected = "2020-12-22T14:30:00Z|1.5|2|last".to_owned();
        prop_assert_eq!(rows.last().map(|row| row.content.clone()), Some(Ok(expected)));
    }
}
