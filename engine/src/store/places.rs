//! Folders that a process may use, and everything below them.

use std::path::{Path, PathBuf};

use object_store::path::Path as Location;
use pulse_core::{Error, Result};
use url::Url;

use super::local::on_disk;
use super::{folder_url, store_path};

/// Means every place.
const ANY: &str = "*";

/// Places, each with all that lies below it.
#[derive(Debug, Clone)]
pub enum Places {
    Any,
    Below(Vec<Url>),
}

impl Places {
    /// URLs of folders with commas, or `*`.
    ///
    /// # Errors
    /// `Invalid` for anything else.
    pub fn parse(setting: &str, text: &str) -> Result<Self> {
        if text.trim() == ANY {
            return Ok(Self::Any);
        }
        let places = text.split(',').map(str::trim).filter(|place| !place.is_empty());
        let wrong = |place: &str| {
            Error::invalid(format!(
                "`{setting}`: `{place}` is no URL: write `file:///folder/` or `s3://bucket/`, several with commas, or `{ANY}`"
            ))
        };
        let url = |place: &str| match Url::parse(place) {
            Ok(_) => folder_url(place, Path::new("/")),
            Err(error) => Err(wrong(place).with_source(error)),
        };
        places.map(url).collect::<Result<_>>().map(Self::Below)
    }

    #[must_use]
    pub fn with(self, place: Url) -> Self {
        match self {
            Self::Any => Self::Any,
            Self::Below(mut places) => {
                places.push(place);
                Self::Below(places)
            }
        }
    }

    /// Whether a folder is one of them or lies below one.
    pub fn hold(&self, place: &Url) -> bool {
        match self {
            Self::Any => true,
            Self::Below(places) => places.iter().any(|allowed| is_below(place, allowed)),
        }
    }

    /// The same for a file of the store that `store` names.
    pub(super) fn hold_file(&self, store: &Url, file: &Location) -> bool {
        let Self::Below(places) = self else { return true };
        let is_local = store.scheme() == "file";
        let on_disk = is_local.then(|| resolved(&on_disk(file)));
        places.iter().filter(|place| is_same_store(place, store)).any(|place| match &on_disk {
            Some(file) => place.to_file_path().is_ok_and(|place| file.starts_with(resolved(&place))),
            None => store_path(place).is_ok_and(|place| file.prefix_matches(&place)),
        })
    }
}

fn is_same_store(a: &Url, b: &Url) -> bool {
    let scheme = |url: &Url| if url.scheme() == "s3a" { "s3".to_owned() } else { url.scheme().to_owned() };
    scheme(a) == scheme(b) && a.host_str() == b.host_str()
}

fn is_below(place: &Url, allowed: &Url) -> bool {
    if !is_same_store(place, allowed) {
        return false;
    }
    if place.scheme() == "file" {
        return match (place.to_file_path(), allowed.to_file_path()) {
            (Ok(place), Ok(allowed)) => resolved(&place).starts_with(resolved(&allowed)),
            _ => false,
        };
    }
    let parts = |url: &Url| -> Vec<String> {
        url.path().split('/').filter(|part| !part.is_empty()).map(str::to_owned).collect()
    };
    parts(place).starts_with(&parts(allowed))
}

/// Without links, as far as the path exists.
fn resolved(path: &Path) -> PathBuf {
    let mut rest = Vec::new();
    let mut above = path;
    loop {
        if let Ok(found) = above.canonicalize() {
            return rest.iter().rev().fold(found, |path, part| path.join(part));
        }
        match (above.parent(), above.file_name()) {
            (Some(parent), Some(name)) => {
                rest.push(name);
                above = parent;
            }
            _ => return path.to_owned(),
        }
    }
}
