//! Compares a whole lake with a catalog.

use std::collections::BTreeSet;
use std::fmt;

use pulse_core::Result;
use pulse_core::name::TableName;

use super::{Catalog, Difference, Registered, TableDescription, describe};
use crate::table::Lake;

/// One table of the lake or of the catalog.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    Same {
        name: TableName,
    },
    Different {
        table: Box<TableDescription>,
        difference: Difference,
    },
    /// Registered, but the table does not exist.
    Gone {
        name: TableName,
        location: String,
    },
}

impl Finding {
    pub fn name(&self) -> &TableName {
        match self {
            Self::Same { name } | Self::Gone { name, .. } => name,
            Self::Different { table, .. } => &table.name,
        }
    }

    /// Whether readers that rely on the catalog are misled.
    pub fn misleads(&self) -> bool {
        match self {
            Self::Same { .. } => false,
            Self::Different { difference, .. } => !matches!(difference, Difference::Behind { .. }),
            Self::Gone { .. } => true,
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Same { .. } => f.write_str("as registered"),
            Self::Different { table, difference: Difference::Behind { registered } } => {
                write!(f, "registered at version {registered}, the table is at {}", table.version)
            }
            Self::Different { difference, .. } => difference.fmt(f),
            Self::Gone { location, .. } => write!(f, "registered at {location}, where no table lies"),
        }
    }
}

/// Findings for every table of the lake, and for every entry of these layers and of the lake's own; sorted by name.
///
/// # Errors
/// By kind, when the lake or the catalog cannot be read.
pub async fn findings(catalog: &dyn Catalog, lake: &Lake, layers: &[&str]) -> Result<Vec<Finding>> {
    let mut layers: BTreeSet<String> = layers.iter().map(|layer| (*layer).to_owned()).collect();
    let mut names = BTreeSet::new();
    let mut findings = Vec::new();
    for name in lake.tables().await? {
        let Some(table) = describe(&lake.table(&name)?).await? else { continue };
        layers.insert(name.layer().to_owned());
        findings.push(match catalog.difference(&table).await? {
            None => Finding::Same { name: name.clone() },
            Some(difference) => Finding::Different { table: Box::new(table), difference },
        });
        names.insert(name);
    }
    let folder = |layer: String| lake.layer(&layer).map(|folder| (layer, folder.to_string()));
    let folders = layers.into_iter().map(folder).collect::<Result<_>>()?;
    for (name, location) in catalog.registrations(&folders).await? {
        if !names.contains(&name) {
            findings.push(Finding::Gone { name, location });
        }
    }
    findings.sort_by(|a, b| a.name().cmp(b.name()));
    Ok(findings)
}

/// How to treat entries whose table is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gone {
    Keep,
    Remove,
}

/// Repairs the catalog's entry; `None` if there was nothing to do.
///
/// # Errors
/// By kind, when the catalog refuses the change.
pub async fn mend(catalog: &dyn Catalog, finding: &Finding, gone: Gone) -> Result<Option<&'static str>> {
    match (finding, gone) {
        (Finding::Same { .. }, _) => Ok(None),
        (Finding::Different { table, .. }, _) => Ok(match catalog.register(table).await? {
            Registered::Created => Some("registered"),
            Registered::Updated => Some("updated"),
            // Another process was faster.
            Registered::Unchanged => None,
        }),
        (Finding::Gone { .. }, Gone::Keep) => Ok(None),
        (Finding::Gone { name, .. }, Gone::Remove) => {
            catalog.remove(name).await?;
            Ok(Some("removed"))
        }
    }
}
