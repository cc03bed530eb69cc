use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::Arc;

use chrono::{TimeDelta, Utc};
use pulse_core::ErrorKind;
use serde_json::{Value, json};
use url::Url;

use super::*;
use crate::store::Stores;
use crate::table::Lake;

/// A lake with one table, whose log and files a test writes by hand.
struct Scene {
    kept: tempfile::TempDir,
    lake: Lake,
}

impl Scene {
    fn new() -> Self {
        let kept = tempfile::tempdir().unwrap();
        let root = kept.path().join("lake");
        std::fs::create_dir_all(root.join("s/t/_delta_log")).unwrap();
        std::fs::create_dir(kept.path().join("victim")).unwrap();
        let lake = Lake::new(Url::from_directory_path(root).unwrap(), Arc::new(Stores::default()));
        let scene = Self { kept, lake };
        let schema = json!({ "type": "struct", "fields": [
            { "name": "a", "type": "long", "nullable": true, "metadata": {} }] });
        scene.log(
            0,
            &[
                json!({ "protocol": { "minReaderVersion": 1, "minWriterVersion": 2 } }),
                json!({ "metaData": { "id": "x", "format": { "provider": "parquet", "options": {} },
                "schemaString": schema.to_string(), "partitionColumns": [], "configuration": {} } }),
            ],
        );
        scene
    }

    fn folder(&self) -> PathBuf {
        self.kept.path().join("lake/s/t")
    }

    fn log(&self, version: u64, actions: &[Value]) {
        let lines: Vec<String> = actions.iter().map(Value::to_string).collect();
        std::fs::write(self.folder().join(format!("_delta_log/{version:020}.json")), lines.join("\n")).unwrap();
    }

    fn file(&self, path: &str) -> PathBuf {
        let file = self.kept.path().join(path);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(&file, "rows").unwrap();
        let past = std::time::SystemTime::now() - std::time::Duration::from_secs(7200);
        std::fs::File::options().write(true).open(&file).unwrap().set_modified(past).unwrap();
        file
    }

    fn table(&self) -> Table {
        self.lake.table(&"s.t".parse().unwrap()).unwrap()
    }

    async fn vacuumed(&self) -> pulse_core::Result<Vec<String>> {
        let table = self.table();
        let files = table.unneeded(since()).await?;
        let before = self.all();
        table.delete(&files).await?;
        let planned: Vec<String> = files.into_iter().map(|file| file.path).collect();
        let mut gone: Vec<String> = before.into_iter().filter(|path| !self.all().contains(path)).collect();
        gone.sort();
        let mut expected: Vec<String> = planned.iter().map(|path| format!("lake/s/t/{path}")).collect();
        expected.sort();
        assert_eq!(gone, expected, "a dry run says what goes");
        Ok(planned)
    }

    /// Of the lake and of what lies beside it.
    fn all(&self) -> Vec<String> {
        fn below(folder: &Path, base: &Path, all: &mut Vec<String>) {
            for entry in folder.read_dir().unwrap().map(Result::unwrap) {
                if entry.file_type().unwrap().is_dir() {
                    below(&entry.path(), base, all);
                } else {
                    all.push(entry.path().strip_prefix(base).unwrap().to_str().unwrap().to_owned());
                }
            }
        }
        let mut all = Vec::new();
        below(self.kept.path(), self.kept.path(), &mut all);
        all
    }
}

/// After the files were written, and before the log was.
fn since() -> DateTime<Utc> {
    Utc::now() - TimeDelta::hours(1)
}

fn add(path: &str) -> Value {
    json!({ "add": { "path": path, "partitionValues": {}, "size": 4, "modificationTime": 0, "dataChange": true } })
}

fn remove(path: &str) -> Value {
    json!({ "remove": { "path": path, "deletionTimestamp": 0, "dataChange": true } })
}

#[tokio::test]
async fn files_outside_the_table_stay_whatever_links_to_them() {
    let scene = Scene::new();
    let victims = ["victim/important.txt", "victim/deep/half#1", "victim/x.parquet"];
    victims.iter().for_each(|path| drop(scene.file(path)));
    scene.file("lake/s/t/live.parquet");
    scene.file("lake/s/t/day=1/old.parquet");
    scene.file("lake/s/t/day=1/half.parquet#1");
    scene.log(1, &[add("live.parquet")]);
    let victim = scene.kept.path().join("victim");
    symlink(&victim, scene.folder().join("link")).unwrap();
    symlink(&victim, scene.folder().join("day=1/link")).unwrap();
    symlink(victim.join("x.parquet"), scene.folder().join("x.parquet")).unwrap();
    symlink(scene.folder(), scene.folder().join("loop")).unwrap();

    assert_eq!(scene.vacuumed().await.unwrap(), ["day=1/half.parquet#1", "day=1/old.parquet"]);
    let left = scene.all();
    assert!(victims.iter().all(|path| left.contains(&(*path).to_owned())), "{left:?}");
    assert!(left.contains(&"lake/s/t/live.parquet".to_owned()));
}

#[tokio::test]
async fn a_file_that_was_swapped_for_a_link_after_it_was_listed_does_not_lead_out() {
    let scene = Scene::new();
    scene.file("victim/old.parquet");
    scene.file("lake/s/t/day=1/old.parquet");
    let files = scene.table().unneeded(since()).await.unwrap();
    assert_eq!(files.len(), 1);
    std::fs::remove_dir_all(scene.folder().join("day=1")).unwrap();
    symlink(scene.kept.path().join("victim"), scene.folder().join("day=1")).unwrap();
    assert!(scene.table().delete(&files).await.is_err());
    assert!(scene.all().contains(&"victim/old.parquet".to_owned()));
}

#[tokio::test]
async fn a_table_that_is_a_link_is_not_emptied() {
    let scene = Scene::new();
    scene.file("lake/s/t/old.parquet");
    symlink(scene.folder(), scene.kept.path().join("lake/s/u")).unwrap();
    let other = scene.lake.table(&"s.u".parse().unwrap()).unwrap();
    let error = other.unneeded(Utc::now()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().contains("symbolic link") && error.to_string().contains("layers.json"), "{error}");
    assert!(other.deletions(0).await.is_err());
    let path = Unneeded { path: "old.parquet".to_owned(), bytes: 4, modified: Utc::now() };
    assert!(other.delete(&[path]).await.is_err());
    assert!(scene.all().contains(&"lake/s/t/old.parquet".to_owned()));
}

#[tokio::test]
async fn absolute_names_in_any_spelling_are_refused_before_anything_is_deleted() {
    let spellings = |folder: &str| {
        [
            format!("{folder}/live.parquet"),
            format!("file:{folder}/live.parquet"),
            format!("file://{folder}/live.parquet"),
            format!("FILE:{folder}/live.parquet"),
            format!("file:%2F{}/live.parquet", folder.trim_start_matches('/')),
            format!("%2F{}/live.parquet", folder.trim_start_matches('/')),
            "s3a://bucket/live.parquet".to_owned(),
            "../t/live.parquet".to_owned(),
            "%2e%2e/t/live.parquet".to_owned(),
        ]
    };
    let folder = Scene::new().folder().display().to_string();
    for spelling in spellings(&folder) {
        for actions in [
            // Live, added and removed again within the retention, and a removal of what a relative name added.
            vec![vec![add(&spelling)]],
            vec![vec![add(&spelling)], vec![remove(&spelling)]],
            vec![vec![add("live.parquet")], vec![remove(&spelling)]],
        ] {
            let scene = Scene::new();
            scene.file("lake/s/t/live.parquet");
            scene.file("lake/s/t/old.parquet");
            for (version, actions) in (1..).zip(&actions) {
                scene.log(version, actions);
            }
            let error = scene.vacuumed().await.expect_err(&spelling);
            assert!(matches!(error.kind(), ErrorKind::Data | ErrorKind::Invalid), "{error:?}");
            assert_eq!(scene.all().iter().filter(|path| path.ends_with(".parquet")).count(), 2, "{spelling}");
        }
    }
}

#[tokio::test]
async fn a_live_file_with_the_name_of_a_begun_one_stays() {
    let scene = Scene::new();
    scene.file("lake/s/t/part#1");
    scene.log(1, &[add("part%231")]);
    assert_eq!(scene.vacuumed().await.unwrap(), Vec::<String>::new());
}

#[tokio::test]
async fn a_file_that_a_link_leads_to_is_refused_with_its_link() {
    let scene = Scene::new();
    scene.file("lake/s/t/real/live.parquet");
    symlink(scene.folder().join("real"), scene.folder().join("alias")).unwrap();
    scene.log(1, &[add("alias/live.parquet")]);
    let error = scene.vacuumed().await.unwrap_err();
    assert!(error.to_string().contains("alias"), "{error}");
    assert!(scene.all().contains(&"lake/s/t/real/live.parquet".to_owned()));
}
