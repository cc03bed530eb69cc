//! Parquet files that are those of a table: which of them hold its rows is only in the table's own log.

use std::fmt;

use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore};
use pulse_core::sources::{FileSource, Format};
use pulse_core::{Error, Result};

use super::listing::SourceFile;
use crate::error::from_store;

/// Objects of a folder that are looked at to see whether it is a table's.
const LOOKED_AT: usize = 10_000;

/// A format of tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Delta,
    Iceberg,
    Hudi,
}

impl Kind {
    const ALL: [Self; 3] = [Self::Delta, Self::Iceberg, Self::Hudi];

    /// The folder beside the table's data that its log lies in.
    fn folder(self) -> &'static str {
        match self {
            Self::Delta => "_delta_log",
            Self::Iceberg => "metadata",
            Self::Hudi => ".hoodie",
        }
    }

    /// Whether a path below that folder is one of a log.
    fn is_log(self, below: &str) -> bool {
        match self {
            Self::Delta => !below.is_empty(),
            Self::Iceberg => below.ends_with(".metadata.json") && !below.contains('/'),
            Self::Hudi => !below.is_empty(),
        }
    }

    fn remedy(self) -> &'static str {
        match self {
            Self::Delta => {
                "declare the folder as a table in sources.toml (`[tables.<name>]` with `location`) and read \
                 `external.<name>`"
            }
            Self::Iceberg | Self::Hudi => "pulse does not read such tables; export its rows to a folder of their own",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Delta => "Delta",
            Self::Iceberg => "Iceberg",
            Self::Hudi => "Hudi",
        })
    }
}

/// Roots of tables.
#[derive(Debug, Default)]
pub(super) struct TableFolders(Vec<(Kind, Path)>);

impl TableFolders {
    /// None are looked for where no feed is of Parquet.
    pub(super) fn of(source: &FileSource) -> Option<Self> {
        source.feed.values().any(|feed| matches!(feed.format, Format::Parquet {})).then(Self::default)
    }

    /// Notes the table whose log an object is part of.
    pub(super) fn note(&mut self, object: &ObjectMeta) {
        for kind in Kind::ALL {
            if let Some(table) = table_of(kind, object.location.as_ref())
                && !self.0.iter().any(|(_, known)| *known == table)
            {
                self.0.push((kind, table));
            }
        }
    }

    /// Looks beside and above a folder whose content has been noted. What cannot be listed above `root` is taken for no table:
    /// nobody need be allowed to look there.
    ///
    /// # Errors
    /// By the kind of the store's error.
    pub(super) async fn look_above(&mut self, store: &dyn ObjectStore, root: &Path, folder: &Path) -> Result<()> {
        let parts: Vec<_> = folder.parts().collect();
        for length in 0..parts.len() {
            let above = Path::from_iter(parts.iter().take(length).cloned());
            let is_below_root = above.prefix_matches(root);
            for kind in Kind::ALL {
                match holds(store, &above, kind).await {
                    Ok(true) => self.0.push((kind, above.clone())),
                    Err(error) if is_below_root => return Err(error),
                    Ok(false) | Err(_) => {}
                }
            }
        }
        Ok(())
    }

    /// # Errors
    /// `Invalid` for a file of a Parquet feed that lies in a table's folder.
    pub(super) fn refuse(&self, source: &FileSource, root: &Path, files: &[SourceFile]) -> Result<()> {
        if self.0.is_empty() {
            return Ok(());
        }
        let is_parquet =
            |feed: &str| source.feed.get(feed).is_some_and(|feed| matches!(feed.format, Format::Parquet {}));
        for file in files.iter().filter(|file| is_parquet(&file.feed)) {
            let location = super::listing::below(root, &file.path)?;
            if let Some((kind, table)) = self.0.iter().find(|(_, table)| location.prefix_matches(table)) {
                return Err(Error::invalid(format!(
                    "feed `{}`: file `{}` belongs to the {kind} table in the folder `{table}`, whose log says which files hold \
                     its rows: read as they are, removed rows would come back; {}",
                    file.feed,
                    file.path,
                    kind.remedy()
                )));
            }
        }
        Ok(())
    }
}

/// The root of the table whose log an object is part of.
fn table_of(kind: Kind, location: &str) -> Option<Path> {
    if !location.contains(kind.folder()) {
        return None;
    }
    let parts: Vec<&str> = location.split('/').collect();
    let at = parts.iter().rposition(|part| *part == kind.folder())?;
    let is_log = kind.is_log(&parts.get(at + 1..)?.join("/"));
    let path = Path::parse(location).ok()?;
    is_log.then(|| Path::from_iter(path.parts().take(at)))
}

async fn holds(store: &dyn ObjectStore, folder: &Path, kind: Kind) -> Result<bool> {
    let log = folder.clone().join(kind.folder());
    let mut objects = store.list(Some(&log)).take(LOOKED_AT);
    let failed = |error| from_store(&format!("look for a table in `{folder}`"), &error);
    while let Some(object) = objects.try_next().await.map_err(failed)? {
        if table_of(kind, object.location.as_ref()).as_ref() == Some(folder) {
            return Ok(true);
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use object_store::memory::InMemory;
    use object_store::{ObjectStoreExt as _, PutPayload};

    use super::super::listing::list;
    use super::*;

    fn source(root: &str, feeds: &[(&str, &str)]) -> FileSource {
        let feed = |(path, format): &(&str, &str)| serde_json::json!({ "path": path, "format": { *format: {} } });
        let feeds: BTreeMap<String, _> =
            feeds.iter().enumerate().map(|(at, given)| (format!("f{at}"), feed(given))).collect();
        let columns = [serde_json::json!({ "name": "x", "type": "bigint" })];
        serde_json::from_value(serde_json::json!({ "root": root, "columns": columns, "feed": feeds })).unwrap()
    }

    async fn listed(objects: &[&str], root: &str, feeds: &[(&str, &str)]) -> Result<Vec<String>> {
        let store = InMemory::new();
        for object in objects {
            store.put(&Path::from(*object), PutPayload::from_static(b"x")).await.unwrap();
        }
        let listing = list(&store, &Path::from(root), &source(root, feeds)).await?;
        Ok(listing.files.into_iter().map(|file| file.path).collect())
    }

    #[tokio::test]
    async fn files_of_a_table_are_no_source() {
        const PARQUET: &[(&str, &str)] = &[("{part}.parquet", "parquet")];
        const DEEP: &[(&str, &str)] = &[("d={d}/{part}.parquet", "parquet")];
        const FIXED: &[(&str, &str)] = &[("t/d=1/{part}.parquet", "parquet")];
        for (objects, root, feeds, expected) in [
            // In the folder of the files, above it, and above the root.
            (["r/a.parquet", "r/_delta_log/00000000000000000000.json"], "r", PARQUET, Some("Delta")),
            (["r/d=1/a.parquet", "r/_delta_log/00000000000000000000.json"], "r", DEEP, Some("Delta")),
            (["r/t/d=1/a.parquet", "r/t/_delta_log/x.checkpoint.parquet"], "r", FIXED, Some("Delta")),
            (["r/t/d=1/a.parquet", "r/_delta_log/00000000000000000000.json"], "r", FIXED, Some("Delta")),
            (["q/r/a.parquet", "q/_delta_log/00000000000000000000.json"], "q/r", PARQUET, Some("Delta")),
            (["r/a.parquet", "_delta_log/00000000000000000000.json"], "r", PARQUET, Some("Delta")),
            (["r/a.parquet", "metadata/v3.metadata.json"], "r", PARQUET, Some("Iceberg")),
            (["r/a.parquet", "r/.hoodie/hoodie.properties"], "r", PARQUET, Some("Hudi")),
            // Beside it, below it, and what only has the name.
            (["r/a.parquet", "q/_delta_log/00000000000000000000.json"], "r", PARQUET, None),
            (["r/a.parquet", "r/t/_delta_log/00000000000000000000.json"], "r", PARQUET, None),
            (["r/a.parquet", "r/metadata/readme.json"], "r", PARQUET, None),
            (["r/a.parquet", "r/x_delta_log/00000000000000000000.json"], "r", PARQUET, None),
        ] {
            match (listed(&objects, root, feeds).await, expected) {
                (Ok(files), None) => assert_eq!(files.len(), 1, "{objects:?}"),
                (Err(error), Some(kind)) => {
                    assert_eq!(error.kind(), pulse_core::ErrorKind::Invalid);
                    let text = error.to_string();
                    assert!(text.contains(kind) && text.contains("a.parquet"), "{text}");
                    assert_eq!(text.contains("[tables.<name>]"), kind == "Delta", "{text}");
                }
                (other, _) => panic!("{objects:?} {root}: {other:?}"),
            }
        }
    }

    #[tokio::test]
    async fn other_formats_may_lie_beside_a_log() {
        let objects = ["r/a.csv", "r/a.parquet", "r/_delta_log/00000000000000000000.json"];
        assert_eq!(listed(&objects, "r", &[("{part}.csv", "csv")]).await.unwrap(), ["a.csv"]);
        let both = [("{part}.csv", "csv"), ("{part}.parquet", "parquet")];
        assert!(listed(&objects, "r", &both).await.is_err());
    }

    #[tokio::test]
    async fn what_engines_leave_beside_data_is_no_data() {
        let objects = [
            "r/_SUCCESS",
            "r/_metadata",
            "r/_common_metadata",
            "r/_started_123",
            "r/_committed_123",
            "r/_spark_metadata/0",
            "r/_temporary/0/part-1",
            "r/.part-0.crc",
            "r/part-0",
            "r/_AAPL",
            "r/x/part-1",
        ];
        let any = [("*", "csv"), ("*/{part}", "csv")];
        assert_eq!(listed(&objects, "r", &any).await.unwrap(), ["_AAPL", "part-0", "x/part-1"]);
        assert_eq!(listed(&objects, "r", &[("_SUCCESS", "csv")]).await.unwrap(), ["_SUCCESS"]);
    }
}
