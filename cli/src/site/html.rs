//! What all pages share: head, style, tables of cells.

use chrono::{DateTime, Utc};

use crate::markup::escape;

const STYLE: &str = include_str!("style.css");
/// Nothing is loaded and nothing runs, whatever stands in a page.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'";

/// A piece of HTML, as opposed to text that is yet to be escaped.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Html(String);

impl Html {
    /// A text as it is shown.
    pub(super) fn text(text: &str) -> Self {
        Self(escape(text))
    }

    pub(super) fn code(text: &str) -> Self {
        Self(format!("<code>{}</code>", escape(text)))
    }

    /// Of a target that we made.
    pub(super) fn link(target: &str, text: &str) -> Self {
        Self(format!("<a href=\"{}\">{}</a>", escape(target), escape(text)))
    }

    /// A word in a coloured frame; `class` is one of the style's.
    pub(super) fn badge(class: &str, text: &str) -> Self {
        Self(format!("<span class=\"badge {class}\">{}</span>", escape(text)))
    }

    pub(super) fn joined(pieces: impl IntoIterator<Item = Self>, between: &str) -> Self {
        Self(pieces.into_iter().map(|piece| piece.0).collect::<Vec<_>>().join(&escape(between)))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn push(&mut self, piece: &Self) {
        self.0.push_str(&piece.0);
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

/// One page, within the site's frame.
#[derive(Debug)]
pub(super) struct Page<'a> {
    pub(super) title: &'a str,
    pub(super) project: &'a str,
    /// From the page to the index.
    pub(super) index: &'a str,
    /// What stands small above the title.
    pub(super) kind: &'a str,
    pub(super) written: DateTime<Utc>,
    pub(super) body: Html,
}

impl Page<'_> {
    pub(super) fn render(&self) -> String {
        let (title, project) = (escape(self.title), escape(self.project));
        format!(
            "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta http-equiv=\"Content-Security-Policy\" \
             content=\"{POLICY}\">\n<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<meta name=\"color-scheme\" \
             content=\"light dark\">\n<title>{title}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<header><a href=\"{}\">{project}</a>\
             </header>\n<main>\n<p class=\"kind\">{}</p>\n<h1>{title}</h1>\n{}</main>\n<footer>Written by pulse at {} UTC.</footer>\n</body>\n\
             </html>\n",
            escape(self.index),
            escape(self.kind),
            self.body.as_str(),
            moment(self.written),
        )
    }
}

/// A heading and what stands below it; nothing when that is empty.
pub(super) fn section(heading: &str, content: &Html) -> Html {
    match content.is_empty() {
        true => Html::default(),
        false => Html(format!("<section>\n<h2>{}</h2>\n{}</section>\n", escape(heading), content.0)),
    }
}

pub(super) fn paragraph(content: &Html) -> Html {
    match content.is_empty() {
        true => Html::default(),
        false => Html(format!("<p>{}</p>\n", content.0)),
    }
}

/// Something that is missing, and why. What stands between two backticks is a command.
pub(super) fn note(text: &str) -> Html {
    let piece = |(place, piece): (usize, &str)| match place % 2 {
        0 => Html::text(piece),
        _ => Html::code(piece),
    };
    Html(format!("<p class=\"quiet\">{}</p>\n", Html::joined(text.split('`').enumerate().map(piece), "").0))
}

pub(super) fn preformatted(text: &str) -> Html {
    // The first line break within `pre` is not shown.
    Html(format!("<pre><code>{}</code></pre>\n", escape(text.trim_end())))
}

/// What goes beyond the page's width is moved within its frame.
pub(super) fn framed(html: &str) -> Html {
    Html(format!("<div class=\"wide\" tabindex=\"0\">\n{html}</div>\n"))
}

/// Names and values, one below the other; those without a value are left out.
pub(super) fn facts(facts: &[(&str, Html)]) -> Html {
    let fact = |(name, value): &(&str, Html)| format!("<dt>{}</dt><dd>{}</dd>\n", escape(name), value.0);
    let facts: String = facts.iter().filter(|(_, value)| !value.is_empty()).map(fact).collect();
    match facts.is_empty() {
        true => Html::default(),
        false => Html(format!("<dl>\n{facts}</dl>\n")),
    }
}

/// A column's heading, and how its cells stand.
pub(super) type Head = (&'static str, Align);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Align {
    Left,
    /// Left, and in one line where there is room.
    Whole,
    /// Numbers.
    Right,
}

/// Tables with more columns become a list on a phone, each cell with its heading.
const NARROW: usize = 3;

/// Nothing when there are no rows.
pub(super) fn table(head: &[Head], rows: &[Vec<Html>]) -> Html {
    if rows.is_empty() {
        return Html::default();
    }
    let class = |align: Align| match align {
        Align::Left => "",
        Align::Whole => " class=\"whole\"",
        Align::Right => " class=\"number\"",
    };
    let heads: String =
        head.iter().map(|(name, align)| format!("<th{}>{}</th>", class(*align), escape(name))).collect();
    let row = |cells: &Vec<Html>| {
        let name = |name: &str| match head.len() > NARROW {
            true => format!(" data-name=\"{}\"", escape(name)),
            false => String::new(),
        };
        let cell = |(cell, (head, align)): (&Html, &Head)| {
            format!("<td{}{}>{}</td>", class(*align), name(head), if cell.is_empty() { "&nbsp;" } else { &cell.0 })
        };
        format!("<tr>{}</tr>\n", cells.iter().zip(head).map(cell).collect::<String>())
    };
    let rows: String = rows.iter().map(row).collect();
    let kind = if head.len() > NARROW { " class=\"many\"" } else { "" };
    framed(&format!("<table{kind}>\n<thead><tr>{heads}</tr></thead>\n<tbody>\n{rows}</tbody>\n</table>\n"))
}

/// To the minute, in UTC.
pub(super) fn moment(at: DateTime<Utc>) -> String {
    at.format("%Y-%m-%d %H:%M").to_string()
}
