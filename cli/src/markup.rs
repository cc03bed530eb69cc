//! Text within HTML and SVG.

/// A text as it is shown, whatever stands in it: also within an attribute's quotes. Characters that XML does not allow are
/// replaced by a mark, as a browser does.
pub(crate) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            '\t' | '\n' | '\r' => escaped.push(letter),
            '\u{0}'..='\u{1f}' | '\u{fffe}' | '\u{ffff}' => escaped.push('\u{fffd}'),
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_ends_an_element_or_an_attribute() {
        let hostile = "<script>alert(\"x\" + 'y')</script>&amp;\u{0}\u{1b}[31m\n\u{fffe}é";
        let shown =
            "&lt;script&gt;alert(&quot;x&quot; + &#39;y&#39;)&lt;/script&gt;&amp;amp;\u{fffd}\u{fffd}[31m\n\u{fffd}é";
        assert_eq!(escape(hostile), shown);
    }
}
