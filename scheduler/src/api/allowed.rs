//! Limits the locations that submissions may name. The scheduler reads and writes with its own rights; without limits, everybody who may
//! submit would have all of them.

use std::path::Path;

use object_store::path::Path as ObjectPath;
use pulse_core::name::TableName;
use pulse_core::project::Project;
use pulse_core::settings::Settings;
use pulse_core::sources::{Address, Database, FileSource};
use pulse_core::sql::EXTERNAL;
use pulse_core::{Error, Result};
use pulse_engine::store::{Places, folder_url};
use pulse_engine::table::Lake;
use url::Url;

/// Folders of a lake that are pulse's own.
const OWN: [&str; 2] = ["_pulse", "_delta_log"];

/// Places for lakes, and for sources.
#[derive(Debug, Clone)]
pub(super) struct Allowed {
    lakes: Places,
    roots: Places,
    /// Servers as `host:port`, or `*`.
    databases: Vec<String>,
}

impl Allowed {
    /// # Errors
    /// `Invalid` for a setting that holds something other than URLs of folders.
    pub(super) fn new(settings: &Settings, home: &Url) -> Result<Self> {
        let lakes = Places::parse("allowed_lakes", &settings.allowed_lakes)?.with(home.clone());
        let mut store = home.clone();
        // A bucket is one place; of a machine, only the lake.
        if store.scheme() != "file" {
            store.set_path("/");
        }
        let roots = Places::parse("allowed_roots", &settings.allowed_roots)?.with(store);
        Ok(Self { lakes, roots, databases: servers(&settings.allowed_databases)? })
    }

    /// Checks the lake's URL before anything of the lake is read.
    ///
    /// # Errors
    /// `Invalid` when it is no URL, or at no place that is allowed.
    pub(super) fn check_url(&self, lake: &str) -> Result<()> {
        let place = folder_url(lake, Path::new("/"))?;
        refuse_own("lake", &place, "name the lake's own folder")?;
        if self.lakes.hold(&place) { Ok(()) } else { Err(refused("lake", &place, "allowed_lakes")) }
    }

    /// # Errors
    /// `Invalid` when the lake, or a layer of it that lies elsewhere, is at no place that is allowed.
    pub(super) fn check_lake(&self, lake: &Lake) -> Result<()> {
        for place in std::iter::once(lake.root()).chain(lake.elsewhere()) {
            if !self.lakes.hold(place) {
                return Err(refused("lake", place, "allowed_lakes"));
            }
        }
        Ok(())
    }

    /// # Errors
    /// `Invalid` when a source of the jobs is at no place that is allowed.
    pub(super) fn check_sources(&self, project: &Project, jobs: &[TableName]) -> Result<()> {
        let base = std::env::current_dir().map_err(|e| Error::unavailable("no current folder").with_source(e))?;
        for job in jobs {
            let query = &project.job(job)?.query;
            for name in query.files() {
                if let Some((database, declared, _)) = project.sources.database_of(name) {
                    self.check_database(database, declared)?;
                    continue;
                }
                let Some(source) = project.sources.files.get(name) else { continue };
                let root = folder_url(&source.root, &base)?;
                self.check_root(&format!("raw.{name}"), &root)?;
                self.check_links(name, source, &root)?;
            }
            for name in query.tables().into_iter().filter(|name| name.layer() == EXTERNAL) {
                // Where Glue's tables lie, the account's own rights say.
                let declared = project.sources.tables.get(name.table()).filter(|table| table.glue.is_none());
                if let Some(table) = declared {
                    self.check_root(&name.to_string(), &folder_url(&table.location, &base)?)?;
                }
            }
        }
        Ok(())
    }

    /// A link could lead anywhere, with the scheduler's rights.
    fn check_links(&self, name: &str, source: &FileSource, root: &Url) -> Result<()> {
        let is_everywhere = Url::parse("file:///").is_ok_and(|all| self.roots.hold(&all));
        match source.follow_links && root.scheme() == "file" && !is_everywhere {
            true => Err(Error::invalid(format!(
                "raw.{name}: `follow_links` may lead a submission out of the places that it may use: take it out, or let the scheduler \
                 allow every place (`allowed_roots = \"*\"`)"
            ))),
            false => Ok(()),
        }
    }

    fn check_database(&self, name: &str, database: &Database) -> Result<()> {
        let address =
            Address::parse(&database.url).map_err(|problem| Error::invalid(format!("databases.{name}: {problem}")))?;
        let server = format!("{}:{}", address.host, address.port);
        let holds = |allowed: &String| allowed == "*" || allowed.eq_ignore_ascii_case(&server);
        match self.databases.iter().any(holds) {
            true => Ok(()),
            false => Err(Error::invalid(format!(
                "databases.{name}: `{server}` is no server that this scheduler reads for submissions; its operator names such servers in \
                 `allowed_databases`"
            ))),
        }
    }

    fn check_root(&self, what: &str, place: &Url) -> Result<()> {
        refuse_own(what, place, "what others have submitted is no source")?;
        match self.roots.hold(place) || self.lakes.hold(place) {
            true => Ok(()),
            false => Err(refused(what, place, "allowed_roots")),
        }
    }
}

/// # Errors
/// `Invalid` for an entry without a port.
fn servers(text: &str) -> Result<Vec<String>> {
    let entries = text.split(',').map(str::trim).filter(|entry| !entry.is_empty());
    entries
        .enumerate()
        .map(|(at, entry)| match entry.rsplit_once(':') {
            Some((_, port)) if port.parse::<u16>().is_ok() && !entry.contains('@') => Ok(entry.replace(['[', ']'], "")),
            _ if entry == "*" => Ok(entry.to_owned()),
            // Not repeated: it may hold a password.
            _ => Err(Error::invalid(format!(
                "entry {} of `allowed_databases` is no server: write `host:port`, such as `db.internal:5432`, or `*`",
                at + 1
            ))),
        })
        .collect()
}

/// Logs of tables and the ledger are places for neither tables nor files.
fn refuse_own(what: &str, place: &Url, help: &str) -> Result<()> {
    // As stores read the URL: `_pu%6cse` is the ledger, too.
    let path = ObjectPath::from_url_path(place.path())
        .map_err(|e| Error::invalid(format!("{what}: `{place}` is no place of a store")).with_source(e))?;
    match OWN.iter().find(|own| path.parts().any(|part| part.as_ref() == **own)) {
        Some(own) => Err(Error::invalid(format!("{what}: `{place}` is within a `{own}` of a lake: {help}"))),
        None => Ok(()),
    }
}

fn refused(what: &str, place: &Url, setting: &str) -> Error {
    Error::invalid(format!(
        "{what}: `{place}` is no place that this scheduler may use for submissions; its operator names such places in `{setting}`"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(roots: &str, home: &str) -> Allowed {
        let settings = Settings { allowed_roots: roots.to_owned(), ..Settings::default() };
        Allowed::new(&settings, &Url::parse(home).unwrap()).unwrap()
    }

    fn holds(allowed: &Allowed, place: &str) -> bool {
        allowed.check_root("raw.x", &folder_url(place, Path::new("/")).unwrap()).is_ok()
    }

    /// A submission may name the file of a password, and the server that it is sent to.
    #[test]
    fn no_database_unless_its_server_is_named() {
        let database = |url: &str| -> Database {
            serde_json::from_value(serde_json::json!({"url": url, "password": "file:/etc/hostname", "tables": {}}))
                .unwrap()
        };
        let answer = |allowed: &str, url: &str| {
            let settings = Settings { allowed_databases: allowed.to_owned(), ..Settings::default() };
            let allowed = Allowed::new(&settings, &Url::parse("file:///lake/").unwrap()).unwrap();
            allowed.check_database("shop", &database(url)).is_ok()
        };
        for (allowed, url, holds) in [
            ("", "postgresql://u@127.0.0.1:5432/x", false),
            ("db:5432", "postgresql://u@db:5432/x", true),
            ("db:5432", "postgresql://u@db/x", true),
            ("other:1, DB:5432", "postgresql://u@db:5432/x", true),
            ("db:5432", "postgresql://u@db:5433/x", false),
            ("db:5432", "postgresql://u@db.evil:5432/x", false),
            ("[::1]:5432", "postgresql://u@[::1]:5432/x", true),
            ("*", "postgresql://u@anywhere:1/x", true),
        ] {
            assert_eq!(answer(allowed, url), holds, "{allowed} {url}");
        }
        for wrong in ["db", "db:1, postgresql://me:s3cret@db:5432"] {
            let settings = Settings { allowed_databases: wrong.to_owned(), ..Settings::default() };
            let error = Allowed::new(&settings, &Url::parse("file:///lake/").unwrap()).unwrap_err();
            let place = wrong.split(',').count();
            assert!(error.message().contains(&format!("entry {place} of `allowed_databases`")), "{error}");
            assert!(!error.message().contains("s3cret"), "{error}");
        }
    }

    #[test]
    fn nothing_of_the_host_unless_it_is_named() {
        let kept = tempfile::tempdir().unwrap();
        let (data, lake) = (kept.path().join("data"), kept.path().join("lake"));
        for folder in [&data, &lake] {
            std::fs::create_dir(folder).unwrap();
        }
        std::os::unix::fs::symlink("/etc", data.join("link")).unwrap();
        let url = |path: &Path| Url::from_directory_path(path).unwrap().to_string();
        let none = allowed("", &url(&lake));
        let named = allowed(&url(&data), &url(&lake));
        for outside in
            ["file:///etc", "file:///", "/etc", "etc", &url(kept.path()), &format!("{}../", url(&data)), "s3://other/"]
        {
            assert!(!holds(&none, outside) && !holds(&named, outside), "{outside}");
        }
        // The name of an allowed place is no prefix of another's.
        assert!(!holds(&named, &format!("{}x/", url(&data).trim_end_matches('/'))));
        assert!(!holds(&named, &url(&data.join("link"))) && !holds(&named, &url(&data.join("link/new"))));
        assert!(!holds(&none, &url(&data)) && holds(&named, &url(&data.join("new/one"))));
        assert!(holds(&none, &url(&lake.join("_raw"))));
        // What others have submitted, in any spelling.
        for own in ["_pulse", "_pulse/runs", "_pu%6cse", "silver/x/_delta_log", "%5Fpulse/runs/"] {
            let place = format!("{}{own}", url(&lake));
            assert!(!holds(&none, &place) && !holds(&allowed("*", &url(&lake)), &place), "{own}");
            assert!(none.check_url(&place).is_err(), "{own}");
        }
        assert!(holds(&allowed("*", &url(&lake)), "file:///etc"));
    }

    #[test]
    fn a_bucket_is_one_place() {
        let one = allowed("s3://raw/vendor/, file:///data", "s3://lake/prod/");
        for place in ["s3://lake/raw", "s3a://lake/raw", "s3://raw/vendor/a", "file:///data/x"] {
            assert!(holds(&one, place), "{place}");
        }
        for place in ["s3://raw/vendor2", "s3://raw", "s3://lake2/raw", "file:///lake", "file:///database"] {
            assert!(!holds(&one, place), "{place}");
        }
        let settings = Settings { allowed_lakes: "data/x".to_owned(), ..Settings::default() };
        let error = Allowed::new(&settings, &Url::parse("s3://lake/").unwrap()).unwrap_err();
        assert!(error.to_string().contains("allowed_lakes"), "{error}");
    }
}
