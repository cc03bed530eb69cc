use chrono::DateTime;
use object_store::ObjectMeta;
use object_store::path::Path;
use proptest::collection::btree_map;
use proptest::prelude::*;
use pulse_core::decide::{Asked, JobRules, Observed, decide};
use pulse_core::manifest::Sink;
use pulse_core::meaning::Meaning;
use pulse_core::sources::OnMissing;

use super::*;
use crate::source::file::Fingerprint;

/// Modification time, content and change time.
type State = (u8, u8, u8);

fn meta(path: &str, (modified, content, changed): State) -> ObjectMeta {
    ObjectMeta {
        location: Path::from(path),
        last_modified: DateTime::from_timestamp(1_700_000_000 + i64::from(modified), 0).unwrap(),
        // Two contents of each size.
        size: u64::from(content / 2),
        e_tag: Some("1f-2-3".to_owned()),
        version: Some(format!("{changed}.000000000")),
    }
}

fn file(path: &str, state: State) -> SourceFile {
    file_of("f", path, state)
}

fn file_of(feed: &str, path: &str, state: State) -> SourceFile {
    let meta = meta(path, state);
    let fingerprint = Fingerprint::of(&meta);
    SourceFile {
        feed: feed.to_owned(),
        path: path.to_owned(),
        size: meta.size,
        fingerprint,
        captures: BTreeMap::new(),
        fault: None,
    }
}

fn digest((_, content, _): State) -> u32 {
    u32::from(content) + 77
}

/// The table's bookmarks, and whether the run rebuilds.
#[derive(Clone, Copy)]
struct Past<'a> {
    bookmarks: &'a HashMap<String, i64>,
    rebuilt: bool,
}

/// As [`list_files`], which reads no file with a known status, followed by the decision.
fn pinned(files: &BTreeMap<String, State>, past: Past<'_>) -> PinnedFiles {
    let known = Bookmarks::new(past.bookmarks.clone(), None);
    let listed: Vec<SourceFile> = files.iter().map(|(path, state)| file(path, *state)).collect();
    let marks = Marks::new(&known, "s", ["f"].into_iter());
    let unsure = listed.iter().filter(|file| marks.are_unsure(file));
    let digests = unsure.map(|file| (file.path.clone(), digest(files[&file.path]))).collect();
    let listing = Listing { files: listed, warnings: Vec::new() };
    let root = url::Url::parse("file:///raw/").unwrap();
    let listed = marks.compared(root, listing, &digests);
    let observed = Observed { files: BTreeMap::from([("s".to_owned(), listed.marks.clone())]), ..Observed::default() };
    let (sink, meaning) = (Sink::Append {}, Meaning::default());
    let rules = JobRules { sink: &sink, interval: None, meaning: &meaning };
    let asked = Asked { rebuild: past.rebuilt, allow_loss: true, ..Asked::default() };
    let plan = decide(rules, Some(&known), &observed, &asked, chrono::Utc::now()).unwrap();
    listed.read_by("s", &plan, &known.gone(&observed))
}

/// Bookmarks that a commit sets after it has read `files`.
fn committed(pinned: &PinnedFiles, files: &BTreeMap<String, State>, rebuilt: bool) -> BTreeMap<String, i64> {
    let digests = pinned.read.iter().map(|file| (file.path.clone(), digest(files[&file.path]))).collect();
    let mut bookmarks = pinned.with_digests("s", &digests);
    let gone = pinned.gone.iter().filter(|_| rebuilt).map(|path| (Bookmarks::file_id("s", path), -1));
    bookmarks.extend(gone);
    bookmarks
}

/// Bookmarks of a table that has read `files`; with `formerly`, by a build that stored only modification time and size.
fn bookmarks(files: &BTreeMap<String, State>, formerly: bool) -> HashMap<String, i64> {
    let number = |path: &str, state: State| {
        let known = meta(path, state);
        match formerly {
            true => Fingerprint::of(&ObjectMeta { version: None, ..known }).bookmark(digest(state)),
            false => by_feed("f", Fingerprint::of(&known).bookmark(digest(state))),
        }
    };
    let mut all: HashMap<_, _> =
        files.iter().map(|(path, state)| (format!("pulse/file/s/{path}"), number(path, *state))).collect();
    // A bookmark of another source, and one of another kind.
    all.insert("pulse/file/ss/gone.csv".to_owned(), 1);
    all.insert("pulse/table/bronze.s".to_owned(), 1);
    all
}

fn paths(files: &[SourceFile]) -> Vec<&str> {
    files.iter().map(|file| file.path.as_str()).collect()
}

fn folder() -> impl Strategy<Value = BTreeMap<String, State>> {
    btree_map("[a-e]", (0..2_u8, 0..4_u8, 0..3_u8), 0..5)
}

proptest! {
    #[test]
    fn a_run_reads_what_differs_and_names_what_is_gone(
        before in folder(), now in folder(), formerly: bool, rebuilt: bool,
    ) {
        // A file system gives different content a different change time.
        let honest = |path: &str, state: &State| {
            before.get(path).is_none_or(|old| old.1 == state.1 || old.2 != state.2)
        };
        prop_assume!(now.iter().all(|(path, state)| honest(path, state)));
        let known = bookmarks(&before, formerly);
        let pinned = pinned(&now, Past { bookmarks: &known, rebuilt });
        let differs = |path: &str, state: &State| match before.get(path) {
            Some(old) if formerly && !rebuilt => (old.0, old.1 / 2) != (state.0, state.1 / 2),
            Some(old) if !rebuilt => old.1 != state.1,
            _ => true,
        };
        let expected: Vec<&str> =
            now.iter().filter(|(path, state)| differs(path, state)).map(|(path, _)| path.as_str()).collect();
        prop_assert_eq!(paths(&pinned.read), expected);
        let replaced: Vec<&str> =
            paths(&pinned.read).into_iter().filter(|path| !rebuilt && before.contains_key(*path)).collect();
        prop_assert_eq!(&pinned.replaced, &replaced);
        let gone: Vec<&String> = before.keys().filter(|path| !now.contains_key(*path)).collect();
        prop_assert_eq!(pinned.gone.iter().collect::<Vec<_>>(), gone);
    }

    /// After a commit the same folder is unchanged, whichever build wrote the bookmarks before.
    #[test]
    fn a_commit_leaves_nothing_to_read(before in folder(), now in folder(), formerly: bool, rebuilt: bool) {
        let mut known = bookmarks(&before, formerly);
        let first = pinned(&now, Past { bookmarks: &known, rebuilt });
        known.extend(committed(&first, &now, rebuilt));
        let past = Past { bookmarks: &known, rebuilt: false };
        let second = pinned(&now, past);
        prop_assert_eq!(paths(&second.read), Vec::<&str>::new());
        prop_assert!(committed(&second, &now, false).is_empty());
        prop_assert_eq!(&second.gone, &(if rebuilt { Vec::new() } else { first.gone }));
        // A file that was lost in a rebuild and comes back is new, and replaces nothing.
        let back = pinned(&before, past);
        for path in before.keys().filter(|path| !now.contains_key(*path) && rebuilt) {
            prop_assert!(paths(&back.read).contains(&path.as_str()) && !back.replaced.contains(path));
        }
    }

    /// A file is read again where another feed reads it, or may have read it.
    #[test]
    fn a_file_that_another_feed_read_is_read_again(
        then in 0..3_usize, now in 0..3_usize, known in prop::collection::btree_set(0..3_usize, 0..4),
        there in prop::collection::btree_set(0..3_usize, 0..4), build in 0..3_u8, state in (0..2_u8, 0..4_u8, 0..3_u8), touched: bool,
    ) {
        const FEEDS: [&str; 3] = ["a", "b", "c"];
        let (mut known, mut there) = (known, there);
        known.insert(then);
        there.insert(now);
        let digested = Fingerprint::of(&meta("x", state)).bookmark(digest(state));
        let number = match build {
            0 => by_feed(FEEDS[then], digested),
            1 => digested,
            _ => Fingerprint::of(&ObjectMeta { version: None, ..meta("x", state) }).bookmark(0),
        };
        let mut numbers: HashMap<String, i64> = known.iter().map(|feed| (format!("pulse/feed/s/{}", FEEDS[*feed]), 7)).collect();
        numbers.insert("pulse/feed/other/z".to_owned(), 7);
        numbers.insert("pulse/feed/s/former".to_owned(), -2);
        numbers.insert("pulse/file/s/x".to_owned(), number);
        let bookmarks = Bookmarks::new(numbers, None);
        let marks = Marks::new(&bookmarks, "s", there.iter().map(|feed| FEEDS[*feed]));
        let state = (state.0, state.1, state.2 + u8::from(touched));
        let file = file_of(FEEDS[now], "x", state);
        let digests = marks.are_unsure(&file).then(|| ("x".to_owned(), digest(state))).into_iter().collect();
        let listing = Listing { files: vec![file], warnings: Vec::new() };
        let listed = marks.compared(url::Url::parse("file:///raw/").unwrap(), listing, &digests);
        let is_read = listed.marks["x"] != number;
        match build {
            0 => prop_assert_eq!(is_read, then != now),
            // Earlier builds did not say which feed it was. One that they did not know, it was not; one that is gone, it may have been.
            _ => prop_assert_eq!(is_read, !known.contains(&now) || !known.is_subset(&there)),
        }
    }

    /// Changed content with the same size and modification time is detected, once this build has read the file.
    #[test]
    fn a_correction_is_found_whatever_its_time(state in (0..2_u8, 0..4_u8, 0..3_u8)) {
        let now = BTreeMap::from([("a".to_owned(), state)]);
        let first = pinned(&now, Past { bookmarks: &HashMap::new(), rebuilt: false });
        let known: HashMap<_, _> = committed(&first, &now, false).into_iter().collect();
        let past = Past { bookmarks: &known, rebuilt: false };
        let corrected = BTreeMap::from([("a".to_owned(), (state.0, state.1 ^ 1, state.2 + 1))]);
        prop_assert_eq!(pinned(&corrected, past).replaced, ["a"]);
        let touched = BTreeMap::from([("a".to_owned(), (state.0, state.1, state.2 + 1))]);
        let pinned = pinned(&touched, past);
        prop_assert!(pinned.read.is_empty());
        prop_assert_eq!(committed(&pinned, &touched, false).len(), 1);
    }
}

#[test]
fn an_empty_root_removes_no_rows_without_permission() {
    use super::super::gone::refuse_empty_root;
    let known = Bookmarks::new(bookmarks(&BTreeMap::from([("a".to_owned(), (0, 0, 0))]), false), None);
    for (root, on_missing, listed, allow_loss, refused) in [
        ("s3://bucket/raw/", OnMissing::Remove, vec![], false, true),
        ("s3://bucket/raw/", OnMissing::Remove, vec![], true, false),
        ("s3://bucket/raw/", OnMissing::Remove, vec![file("b", (0, 0, 0))], false, false),
        ("s3://bucket/raw/", OnMissing::Keep, vec![], false, false),
        ("file:///raw/", OnMissing::Remove, vec![], false, true),
        ("file:///raw/", OnMissing::Remove, vec![], true, false),
    ] {
        let listing = Listing { files: listed, warnings: Vec::new() };
        let nothing = Bookmarks::new(HashMap::new(), None);
        let marks = Marks::new(&nothing, "s", ["f"].into_iter());
        let listed = marks.compared(url::Url::parse(root).unwrap(), listing, &HashMap::new());
        let observed = Observed {
            files: BTreeMap::from([("s".to_owned(), listed.marks.clone())]),
            on_missing: BTreeMap::from([("s".to_owned(), on_missing)]),
            ..Observed::default()
        };
        let asked = Asked { allow_loss, ..Asked::default() };
        let answer = refuse_empty_root(&BTreeMap::from([("s".to_owned(), listed)]), &known, &observed, &asked);
        assert_eq!(answer.is_err(), refused, "{root} {on_missing:?}");
    }
}
