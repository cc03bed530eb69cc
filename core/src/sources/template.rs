//! Texts of requests with placeholders in braces.

/// What a placeholder stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Placeholder {
    Symbol,
    Key,
    /// `2024-01-31`; only of a period of one day.
    Date,
    /// `2024-01`; only of a month.
    Month,
    /// `2024`
    Year,
    /// `01`
    MonthNumber,
    /// First day of the period.
    From,
    /// Last day of the period.
    To,
    /// Seconds since 1970 of the period's start in UTC.
    FromEpoch,
    /// Seconds since 1970 of the period's end in UTC, which the period does not contain.
    ToEpoch,
    /// `20240131`
    FromCompact,
    ToCompact,
}

impl Placeholder {
    const ALL: [Self; 12] = [
        Self::Symbol,
        Self::Key,
        Self::Date,
        Self::Month,
        Self::Year,
        Self::MonthNumber,
        Self::From,
        Self::To,
        Self::FromEpoch,
        Self::ToEpoch,
        Self::FromCompact,
        Self::ToCompact,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::Symbol => "symbol",
            Self::Key => "key",
            Self::Date => "date",
            Self::Month => "month",
            Self::Year => "year",
            Self::MonthNumber => "month_number",
            Self::From => "from",
            Self::To => "to",
            Self::FromEpoch => "from_epoch",
            Self::ToEpoch => "to_epoch",
            Self::FromCompact => "from_compact",
            Self::ToCompact => "to_compact",
        }
    }

    /// Whether it depends on the time that the request covers.
    pub fn is_of_period(self) -> bool {
        !matches!(self, Self::Symbol | Self::Key)
    }
}

/// A text, cut at its placeholders.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    pieces: Vec<Piece>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(String),
    Value(Placeholder),
}

impl Template {
    /// # Errors
    /// What is wrong with the text.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some(at) = rest.find(['{', '}']) {
            let (before, behind) = rest.split_at(at);
            pieces.push(Piece::Text(before.to_owned()));
            let name = behind.strip_prefix('{').and_then(|behind| behind.split_once('}'));
            let Some((name, behind)) = name else { return Err("a brace has no other half".to_owned()) };
            let known = Placeholder::ALL.into_iter().find(|known| known.name() == name);
            let names = || Placeholder::ALL.map(|known| format!("{{{}}}", known.name())).join(", ");
            pieces.push(Piece::Value(known.ok_or_else(|| format!("`{{{name}}}` is not one of {}", names()))?));
            rest = behind;
        }
        pieces.push(Piece::Text(rest.to_owned()));
        Ok(Self { pieces })
    }

    pub fn placeholders(&self) -> impl Iterator<Item = Placeholder> {
        self.pieces.iter().filter_map(|piece| match piece {
            Piece::Value(placeholder) => Some(*placeholder),
            Piece::Text(_) => None,
        })
    }

    pub fn has(&self, placeholder: Placeholder) -> bool {
        self.placeholders().any(|one| one == placeholder)
    }

    /// The text with values in place of the placeholders.
    pub fn render(&self, value: impl Fn(Placeholder) -> String) -> String {
        let text = |piece: &Piece| match piece {
            Piece::Text(text) => text.clone(),
            Piece::Value(placeholder) => value(*placeholder),
        };
        self.pieces.iter().map(text).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_stand_in_place_of_their_names() {
        let template = Template::parse("/q?s={symbol}&m={month}&k={key}").unwrap();
        assert_eq!(template.render(|one| one.name().to_uppercase()), "/q?s=SYMBOL&m=MONTH&k=KEY");
        assert!(template.has(Placeholder::Key) && !template.has(Placeholder::Date));
        assert_eq!(Template::parse("").unwrap().render(|_| "x".to_owned()), "");
    }

    #[test]
    fn what_is_no_placeholder_is_refused() {
        for wrong in ["{", "}", "a{symbol", "a}b{symbol}", "{}", "{Symbol}", "{symbol }", "{{symbol}}"] {
            assert!(Template::parse(wrong).is_err(), "{wrong}");
        }
    }
}
