//! Which of a file's fields the declared columns are read from, and which columns the file does not have.

use super::value::ColumnBuilder;

/// What a file's fields are called in a reason.
#[derive(Debug, Clone, Copy)]
pub(super) struct Names {
    whole: &'static str,
    field: &'static str,
    ignoring_case: bool,
}

impl Names {
    /// What names the fields.
    pub(super) const fn whole(self) -> &'static str {
        self.whole
    }

    pub(super) const OF_CSV: Self = Self { whole: "the header", field: "field", ignoring_case: false };
    pub(super) const OF_LIST: Self = Self { whole: "the format", field: "field", ignoring_case: false };
    pub(super) const OF_PARQUET: Self = Self { whole: "the file", field: "column", ignoring_case: false };

    /// Names that differ in capital and small letters alone are the same.
    pub(super) const fn ignoring_case(self) -> Self {
        Self { ignoring_case: true, ..self }
    }

    fn agree(self, found: &str, name: &str) -> bool {
        found == name || (self.ignoring_case && found.to_lowercase() == name.to_lowercase())
    }
}

/// For each column, which of the file's fields `found` it is read from; `None` when the file does not have it, which makes it null.
///
/// # Errors
/// A reason why no row of the file can be read: a required column is absent, a field is there twice, no column is there at all (then it
/// is hardly a header), or an absent column is there under a name that differs in case or punctuation only: to read it as null
/// would lose its values.
pub(super) fn places(columns: &[ColumnBuilder], found: &[&str], names: Names) -> Result<Vec<Option<usize>>, String> {
    let Names { whole, field, .. } = names;
    let mut places: Vec<Option<usize>> = Vec::with_capacity(columns.len());
    for column in columns {
        let name = column.field();
        let mut matching = found.iter().enumerate().filter(|(_, found)| names.agree(found, name)).map(|(at, _)| at);
        let place = match (matching.next(), matching.next()) {
            (None, _) if column.is_required() => return Err(format!("{whole} has no {field} `{name}`")),
            (Some(_), Some(_)) => return Err(format!("{whole} has the {field} `{name}` twice")),
            (place, _) => place,
        };
        if place.is_some() && places.contains(&place) {
            return Err(format!("two columns are read from the {field} `{name}`"));
        }
        places.push(place);
    }
    if !columns.is_empty() && places.iter().all(Option::is_none) {
        return Err(format!("{whole} has none of the declared {field}s"));
    }
    let unread: Vec<&str> = unread(&places, found).into_iter().map(|(_, name)| name).collect();
    for (column, _) in columns.iter().zip(&places).filter(|(_, place)| place.is_none()) {
        let name = column.field();
        if let Some(alike) = unread.iter().find(|unread| plain(unread) == plain(name)) {
            return Err(format!(
                "{whole} has no {field} `{name}` but `{alike}`: name it in `rename` of the feed, or declare a column that is read from \
                 `{alike}`"
            ));
        }
    }
    Ok(places)
}

/// The names of `found` that no column is read from, and their places.
pub(super) fn unread<'a>(places: &[Option<usize>], found: &[&'a str]) -> Vec<(usize, &'a str)> {
    let names = found.iter().copied().enumerate();
    names.filter(|(at, _)| !places.contains(&Some(*at))).collect()
}

/// The columns that the file does not have.
pub(super) fn absent(places: &[Option<usize>]) -> Vec<usize> {
    places.iter().enumerate().filter(|(_, place)| place.is_none()).map(|(column, _)| column).collect()
}

/// Letters and digits of a name, in lower case.
fn plain(name: &str) -> String {
    name.chars().filter(|character| character.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}
