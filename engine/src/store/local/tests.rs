use std::collections::BTreeMap;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::symlink;
use std::sync::Arc;
use std::time::Duration;

use object_store::{ObjectStoreExt as _, PutMode};
use proptest::prelude::*;
use rustix::fs::{CWD, FileType, Mode, mknodat};

use super::super::table_files::{TableFiles, delete_below};
use super::*;

/// A folder with a file beside it, which links lead to.
struct Scene {
    _kept: tempfile::TempDir,
    folder: PathBuf,
    outside: PathBuf,
}

fn scene() -> Scene {
    let kept = tempfile::tempdir().unwrap();
    let base = kept.path().canonicalize().unwrap();
    let (folder, outside) = (base.join("lake/s/t"), base.join("victim"));
    for folder in [&folder, &outside] {
        std::fs::create_dir_all(folder.join("deep")).unwrap();
        std::fs::write(folder.join("deep/one.parquet"), "one").unwrap();
    }
    Scene { _kept: kept, folder, outside }
}

impl Scene {
    fn table(&self) -> TableFiles {
        let lake = self.folder.parent().unwrap().parent().unwrap().to_owned();
        TableFiles { files: Arc::new(LocalFiles::default()), lake }
    }

    fn path(&self, below: &str) -> Path {
        Path::from_absolute_path(self.folder.join(below)).unwrap()
    }
}

async fn names(files: &dyn ObjectStore, folder: &FilePath) -> Vec<String> {
    let prefix = Path::from_absolute_path(folder).unwrap();
    let listed: Vec<ObjectMeta> = files.list(Some(&prefix)).try_collect().await.unwrap();
    let mut names: Vec<String> = listed.iter().map(|meta| below(&prefix, meta)).collect();
    names.sort();
    names
}

fn below(prefix: &Path, meta: &ObjectMeta) -> String {
    meta.location.as_ref().strip_prefix(prefix.as_ref()).unwrap().trim_start_matches('/').to_owned()
}

fn pipe(path: &FilePath) {
    mknodat(CWD, path, FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
}

#[tokio::test]
async fn others_read_tables_and_not_the_ledger() {
    use std::os::unix::fs::PermissionsExt as _;
    let scene = scene();
    let files = LocalFiles::default();
    let mode = |path: &str| std::fs::metadata(scene.folder.join(path)).unwrap().permissions().mode() & 0o777;
    std::fs::write(scene.folder.join("as the umask says"), "").unwrap();
    let by_umask = mode("as the umask says");
    for path in ["_pulse/runs/1/trigger.json", "_pulse/layers.json", "silver/t/part.parquet"] {
        files.put(&scene.path(path), "one".into()).await.unwrap();
        files.put(&scene.path(path), "two".into()).await.unwrap();
        let again = files.put_opts(&scene.path(path), "three".into(), PutMode::Create.into()).await;
        assert!(matches!(again, Err(Error::AlreadyExists { .. })), "{path}: {again:?}");
        let parts = ["fo", "ur"].into_iter().map(Bytes::from).collect::<PutPayload>();
        files.put_opts(&scene.path(&format!("{path}.new")), parts, PutMode::Create.into()).await.unwrap();
        assert_eq!(std::fs::read_to_string(scene.folder.join(path)).unwrap(), "two");
        assert_eq!(std::fs::read_to_string(scene.folder.join(format!("{path}.new"))).unwrap(), "four");
        let expected = if path.contains("trigger") { 0o600 } else { by_umask };
        assert_eq!(mode(path), expected, "{path}");
    }
    assert_eq!(mode("_pulse/runs/1/trigger.json.new"), 0o600);
    let listed = names(&files, &scene.folder.join("_pulse/runs")).await;
    assert_eq!(listed, ["1/trigger.json", "1/trigger.json.new"]);
    let _ = std::fs::remove_dir_all(scene.folder.join("_pulse"));
    let many = (0..16).map(|number| {
        let (place, files) = (scene.path("_pulse/open/x"), LocalFiles::default());
        tokio::spawn(async move {
            let text: PutPayload = format!("{number}").repeat(9_999).into();
            files.put_opts(&place, text, PutMode::Create.into()).await.is_ok()
        })
    });
    let won = futures::future::join_all(many).await.into_iter().filter(|won| *won.as_ref().unwrap()).count();
    assert_eq!((won, names(&files, &scene.folder.join("_pulse")).await), (1, vec!["open/x".to_owned()]));
}

#[tokio::test]
async fn what_links_lead_to_is_neither_listed_read_written_nor_deleted() {
    let scene = scene();
    symlink(&scene.outside, scene.folder.join("link")).unwrap();
    symlink(scene.outside.join("deep/one.parquet"), scene.folder.join("file.parquet")).unwrap();
    symlink(&scene.folder, scene.folder.join("deep/loop")).unwrap();
    let table = scene.table();
    assert_eq!(names(&table, &scene.folder).await, ["deep/one.parquet"]);
    assert_eq!(names(&LocalFiles::default(), &scene.folder).await, ["deep/one.parquet"]);

    let through = scene.path("link/deep/one.parquet");
    for path in [&through, &scene.path("file.parquet")] {
        let error = table.get(path).await.unwrap_err();
        assert!(error.to_string().contains("symbolic link"), "{error}");
    }
    let new = scene.path("link/new.parquet");
    assert!(table.put(&new, PutPayload::from_static(b"x")).await.is_err());
    assert!(table.put_opts(&new, PutPayload::from_static(b"x"), PutMode::Create.into()).await.is_err());
    assert!(table.put_multipart(&new).await.is_err());
    assert!(table.copy(&scene.path("deep/one.parquet"), &new).await.is_err());
    assert!(table.rename(&through, &scene.path("mine.parquet")).await.is_err());
    assert!(table.delete(&through).await.is_err());
    assert_eq!(names(&LocalFiles::default(), &scene.outside).await, ["deep/one.parquet"]);

    // The link itself is a file of the table's folder.
    table.delete(&scene.path("file.parquet")).await.unwrap();
    assert!(scene.outside.join("deep/one.parquet").exists());
    table.delete(&scene.path("deep/one.parquet")).await.unwrap();
    assert!(matches!(table.delete(&scene.path("deep/one.parquet")).await, Err(Error::NotFound { .. })));
}

#[tokio::test]
async fn a_layer_that_is_a_link_is_refused() {
    let scene = scene();
    let lake = scene.folder.parent().unwrap().parent().unwrap();
    symlink(scene.outside.parent().unwrap(), lake.join("gold")).unwrap();
    let through = Path::from_absolute_path(lake.join("gold/victim/deep/one.parquet")).unwrap();
    let (table, new) = (scene.table(), Path::from_absolute_path(lake.join("gold/victim/new.parquet")).unwrap());
    let error = table.get(&through).await.unwrap_err().to_string();
    assert!(error.contains("gold` is a symbolic link") && error.contains("layers.json"), "{error}");
    assert!(table.put(&new, PutPayload::from_static(b"x")).await.is_err());
    assert!(table.list(Some(&through)).try_collect::<Vec<_>>().await.is_err());
    assert_eq!(names(&LocalFiles::default(), &scene.outside).await, ["deep/one.parquet"]);
}

#[test]
fn no_link_on_the_way_is_followed_by_a_deletion() {
    let scene = scene();
    let lake = scene.folder.parent().unwrap();
    symlink(&scene.outside, lake.join("u")).unwrap();
    assert!(delete_below(lake, &lake.join("u/deep/one.parquet")).is_err());
    assert!(delete_below(&scene.folder, &scene.outside.join("deep/one.parquet")).is_err());
    assert!(delete_below(&scene.folder, &scene.folder.join("../../../victim/deep/one.parquet")).is_err());
    assert!(scene.outside.join("deep/one.parquet").exists());
    delete_below(lake, &scene.folder.join("deep/one.parquet")).unwrap();
    assert!(!scene.folder.join("deep/one.parquet").exists());
}

#[tokio::test]
async fn nothing_waits_for_a_pipe() {
    let scene = scene();
    pipe(&scene.folder.join("p.parquet"));
    symlink("/dev/zero", scene.folder.join("z.parquet")).unwrap();
    let files = LocalFiles::default();
    for name in ["p.parquet", "z.parquet"] {
        let got = tokio::time::timeout(Duration::from_secs(20), files.get(&scene.path(name))).await;
        assert!(got.expect("it waits").is_err());
    }
    assert_eq!(names(&files, &scene.folder).await, ["deep/one.parquet"]);
}

#[tokio::test]
async fn a_source_shows_links_and_names_that_nobody_can_read() {
    let scene = scene();
    symlink(&scene.outside, scene.folder.join("link")).unwrap();
    symlink("nowhere", scene.folder.join("broken.csv")).unwrap();
    symlink(&scene.folder, scene.folder.join("deep/loop")).unwrap();
    for name in [&b"a\nb.csv"[..], b"esc\x1b.csv", b"inv\xff.csv"] {
        std::fs::write(scene.folder.join(std::ffi::OsStr::from_bytes(name)), "x").unwrap();
    }
    let prefix = Path::from_absolute_path(&scene.folder).unwrap();
    let tags = async |links: Links| {
        let files = LocalFiles::of_source(scene.folder.clone(), links);
        let listed: Vec<ObjectMeta> = files.list(Some(&prefix)).try_collect().await.unwrap();
        let tag = |meta: &ObjectMeta| meta.e_tag.clone().filter(|tag| tag.starts_with("pulse"));
        listed.iter().map(|meta| (below(&prefix, meta), tag(meta))).collect::<BTreeMap<_, _>>()
    };
    let unshown =
        || ["a\\x0ab.csv", "esc\\x1b.csv", "inv\\xff.csv"].map(|name| (name.to_owned(), Some(UNSHOWN.to_owned())));
    let one = || ("deep/one.parquet".to_owned(), None);
    let left = ["link", "deep/loop"].map(|name| (name.to_owned(), Some(LEFT_LINK.to_owned())));
    assert_eq!(tags(Links::Left).await, unshown().into_iter().chain(left).chain([one()]).collect());
    let followed = [("link/deep/one.parquet".to_owned(), None), one()];
    assert_eq!(tags(Links::Followed).await, unshown().into_iter().chain(followed).collect());
    // A feed's own folder may be a link, too.
    let within = LocalFiles::of_source(scene.folder.clone(), Links::Left);
    let listed: Vec<ObjectMeta> = within.list(Some(&scene.path("link/deep"))).try_collect().await.unwrap();
    assert_eq!(listed.iter().map(|meta| below(&prefix, meta)).collect::<Vec<_>>(), ["link"]);
}

#[tokio::test]
async fn folders_are_listed_beside_names_that_cannot_be_shown() {
    let scene = scene();
    std::fs::create_dir(scene.folder.join("bad\u{1b}")).unwrap();
    let listed = LocalFiles::default().list_with_delimiter(Some(&scene.path(""))).await.unwrap();
    assert_eq!(listed.common_prefixes, [scene.path("deep")]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// As the library for stores lists them, where there is no link.
    #[test]
    fn plain_trees_are_listed_as_ever(names in prop::collection::btree_set("[a-z%# ä]{1,4}(/[a-z%#\\\\]{1,4}){0,2}", 0..12)) {
        let kept = tempfile::tempdir().unwrap();
        for name in &names {
            let file = kept.path().join(name);
            let _ = std::fs::create_dir_all(file.parent().unwrap());
            let _ = std::fs::write(file, "x");
        }
        let prefix = Path::from_absolute_path(kept.path()).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let all = |store: &dyn ObjectStore| {
            let listed: Vec<ObjectMeta> = runtime.block_on(store.list(Some(&prefix)).try_collect()).unwrap();
            let mut listed: Vec<_> =
                listed.into_iter().map(|meta| (meta.location, meta.size, meta.e_tag, meta.last_modified)).collect();
            listed.sort();
            listed
        };
        prop_assert_eq!(all(&LocalFiles::default()), all(&LocalFileSystem::new()));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..Default::default() })]

    /// Folders that come before the offset are not looked at, and no file behind it is missed.
    #[test]
    fn listing_from_an_offset_finds_what_the_whole_listing_has_behind_it(
        files in prop::collection::vec("[ab]{1,2}[-.0]?(/[ab]{1,2}[-.0]?){0,2}/f", 0..12),
        offset in "[ab]{1,2}[-.0]?(/[ab]{0,2}){0,2}",
    ) {
        let scene = scene();
        for file in &files {
            let path = scene.folder.join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            let _ = std::fs::write(path, "x");
        }
        let (store, root) = (LocalFiles::default(), scene.path(""));
        let offset = Path::from(format!("{root}/{offset}"));
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let found = |listed: BoxStream<'static, Result<ObjectMeta>>| {
            let mut found: Vec<Path> =
                runtime.block_on(listed.map_ok(|meta| meta.location).try_collect()).unwrap();
            found.sort();
            found
        };
        let all = found(store.list(Some(&root)));
        let wanted: Vec<Path> = all.into_iter().filter(|path| *path > offset).collect();
        prop_assert_eq!(found(store.list_with_offset(Some(&root), &offset)), wanted);
    }
}
