//! How large a query may be. Parser and planner call themselves for each part of an expression, so that one with 20,000 terms ends the
//! process: its stack is full. All limits are judged before anything is built that is as deep as the text says.

use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::{Span, Token, TokenWithSpan, Word};

/// Operators, joins and set operations, one within the other: `a and b and c` are two.
pub(super) const MAX_DEPTH: usize = 1_000;
/// Words, numbers, texts and signs. A list of 40,000 values has twice as many.
pub(super) const MAX_TOKENS: usize = 100_000;
/// Tables that a query reads, each as often as the steps that name it are used.
pub(super) const MAX_RELATIONS: usize = 2_000;
/// Types within each other in the text of `arrow_cast`.
const MAX_TYPE_DEPTH: usize = 64;
/// `with` steps, one above the other.
pub(super) const MAX_STEPS: usize = 200;

/// What stands between two parentheses, or between `case` and `end`.
#[derive(Debug, Default)]
struct Level {
    is_case: bool,
    is_from: bool,
    /// Operators since the last comma or clause.
    operators: usize,
    /// The deepest level within, since then.
    within: usize,
    /// The deepest part so far.
    deepest: usize,
    /// Joins and set operations.
    plans: usize,
}

impl Level {
    fn depth(&self) -> usize {
        self.plans + self.deepest.max(self.operators + self.within)
    }

    /// A part ends that is not nested in the next one.
    fn cut(&mut self) {
        self.deepest = self.deepest.max(self.operators + self.within);
        (self.operators, self.within) = (0, 0);
    }
}

/// # Errors
/// Where the text is too large, and what the limit is.
pub(super) fn check(tokens: &[TokenWithSpan]) -> Result<(), (Span, String)> {
    let mut levels = Levels::default();
    let mut counted = 0;
    let names_types = tokens.iter().any(|token| matches!(&token.token, Token::Word(word) if names_type(&word.value)));
    if names_types && let Some(token) = tokens.iter().find(|token| is_deep_type(&token.token)) {
        return Err((
            token.span,
            format!("a type within more than {MAX_TYPE_DEPTH} others: name a type that tables have"),
        ));
    }
    for token in tokens.iter().filter(|token| !matches!(token.token, Token::Whitespace(_) | Token::EOF)) {
        counted += 1;
        levels.take(&token.token);
        if levels.depth() > MAX_DEPTH {
            return Err((token.span, too_deep()));
        }
        if counted > MAX_TOKENS {
            let message =
                format!("the query has more than {MAX_TOKENS} words and signs: put lists of values into a table");
            return Err((token.span, message));
        }
    }
    Ok(())
}

/// Functions that read a type from a text, part by part within each other.
fn names_type(word: &str) -> bool {
    ["arrow_cast", "arrow_try_cast"].iter().any(|name| word.eq_ignore_ascii_case(name))
}

fn is_deep_type(token: &Token) -> bool {
    let text = match token {
        Token::SingleQuotedString(text)
        | Token::EscapedStringLiteral(text)
        | Token::UnicodeStringLiteral(text)
        | Token::NationalStringLiteral(text)
        | Token::TripleSingleQuotedString(text)
        | Token::DoubleQuotedString(text) => text,
        Token::DollarQuotedString(text) => &text.value,
        _ => return false,
    };
    text.matches('(').count() > MAX_TYPE_DEPTH
}

fn too_deep() -> String {
    format!(
        "more than {MAX_DEPTH} operators, joins or unions are nested here: write `in (..)` for a chain of `or`, put values into a table, or \
         split the query into jobs"
    )
}

#[derive(Debug, Default)]
struct Levels {
    outer: Vec<Level>,
    inner: Level,
    /// `is distinct` came last: its `from` is no clause.
    is_distinct: bool,
}

impl Levels {
    /// Of the part that is read now. All levels around it are above it.
    fn depth(&self) -> usize {
        self.outer.iter().map(|level| level.plans + level.operators).sum::<usize>() + self.inner.depth()
    }

    fn enter(&mut self, is_case: bool) {
        self.inner.operators += 1;
        self.outer.push(std::mem::replace(&mut self.inner, Level { is_case, ..Level::default() }));
    }

    fn leave(&mut self) {
        if let Some(outer) = self.outer.pop() {
            let depth = std::mem::replace(&mut self.inner, outer).depth();
            self.inner.within = self.inner.within.max(depth);
        }
    }

    fn take(&mut self, token: &Token) {
        match token {
            Token::LParen | Token::LBracket | Token::LBrace => self.enter(false),
            Token::RParen | Token::RBracket | Token::RBrace => self.leave(),
            Token::Comma => {
                self.inner.plans += usize::from(self.inner.is_from);
                self.inner.cut();
            }
            Token::SemiColon => *self = Self::default(),
            Token::Word(word) => self.word(word),
            Token::Number(..) | Token::Period => {}
            // Texts of all kinds are no operators; that they count as such where two follow each other does not matter.
            Token::SingleQuotedString(_) | Token::DoubleQuotedString(_) | Token::Placeholder(_) => {}
            _ => self.inner.operators += 1,
        }
    }

    fn word(&mut self, word: &Word) {
        let is_distinct = std::mem::replace(&mut self.is_distinct, word.keyword == Keyword::DISTINCT);
        match word.keyword {
            Keyword::FROM if is_distinct => self.inner.operators += 1,
            Keyword::NoKeyword => {}
            _ if word.quote_style.is_some() => {}
            Keyword::CASE => self.enter(true),
            Keyword::END if self.inner.is_case => self.leave(),
            Keyword::WHEN | Keyword::THEN | Keyword::ELSE if self.inner.is_case => self.inner.cut(),
            Keyword::FROM => {
                self.inner.cut();
                self.inner.is_from = true;
            }
            Keyword::SELECT | Keyword::WHERE | Keyword::GROUP | Keyword::HAVING | Keyword::ORDER | Keyword::LIMIT => {
                self.inner.cut();
                self.inner.is_from = false;
            }
            Keyword::JOIN | Keyword::UNION | Keyword::EXCEPT | Keyword::INTERSECT | Keyword::MINUS => {
                self.inner.cut();
                self.inner.plans += 1;
            }
            _ => self.inner.operators += 1,
        }
    }
}

/// What a query costs to plan, with its steps put in the places that name them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Cost {
    /// Tables that are read.
    relations: usize,
    /// Steps above each other.
    steps: usize,
}

impl Cost {
    pub(super) const TABLE: Self = Self { relations: 1, steps: 0 };

    pub(super) fn add(&mut self, other: Self) {
        self.relations = self.relations.saturating_add(other.relations);
        self.steps = self.steps.max(other.steps);
    }

    /// As a step of another query. One that reads no table costs as much where it is used.
    #[must_use]
    pub(super) fn of_step(self) -> Self {
        Self { steps: self.steps + 1, relations: self.relations.max(1) }
    }

    /// What is too much.
    pub(super) fn problem(self) -> Option<String> {
        if self.relations > MAX_RELATIONS {
            return Some(format!(
                "the query reads more than {MAX_RELATIONS} tables, counted each time that a `with` step that names them is used"
            ));
        }
        (self.steps > MAX_STEPS).then(|| format!("more than {MAX_STEPS} `with` steps lie one above the other"))
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Query, check_condition, check_question, split};

    #[test]
    fn the_text_of_a_type_is_not_deep() {
        let cast = |function: &str, outer: &str, depth: usize| {
            format!("select {function}(null, '{}Int8{}') as l from s.t", outer.repeat(depth), ")".repeat(depth))
        };
        for (function, outer) in
            [("arrow_cast", "List("), ("ARROW_TRY_CAST", "Struct("), ("arrow_cast", "Dictionary(Int8, ")]
        {
            assert!(
                refused(&cast(function, outer, 100_000)).contains("a type within more than 64"),
                "{function} {outer}"
            );
            Query::parse("query.sql", &cast(function, outer, 60)).unwrap();
        }
        Query::parse("query.sql", &cast("length", "(", 1_000)).unwrap();
        assert!(check_condition(&cast("arrow_cast", "List(", 100_000)).is_err());
    }

    fn refused(text: &str) -> String {
        let problems = Query::parse("query.sql", text).unwrap_err();
        assert_eq!(
            check_question("query", text).is_err(),
            ["nested here", "words and signs", "counted each time", "one above the other", "a type within"]
                .iter()
                .any(|limit| problems[0].message.contains(limit))
        );
        problems[0].message.clone()
    }

    /// Chains of one kind, with `count` links.
    fn chains(count: usize) -> Vec<(&'static str, String)> {
        let chain = |link: &str| link.repeat(count);
        vec![
            ("sum", format!("select 1{}", chain(" + 1"))),
            ("and", format!("select 1 from s.t where a{}", chain(" and b = 2"))),
            ("or, in an argument", format!("select round(1, case when a{} then 1 end)", chain(" or b"))),
            ("not", format!("select {}true", chain("not "))),
            ("minus", format!("select {}1", chain("- "))),
            ("cast", format!("select a{}", chain("::int"))),
            ("subscript", format!("select a{}", chain("[1]"))),
            ("is null", format!("select a{}", chain(" is null"))),
            ("is distinct from", format!("select a{}", chain(" is distinct from b"))),
            ("between", format!("select a{}", chain(" between 1 and 2"))),
            ("texts", format!("select a{}", chain(" || 'x'"))),
            ("json", format!("select a{}", chain(" -> 'x'"))),
            ("at time zone", format!("select a{}", chain(" at time zone 'UTC'"))),
            ("collate", format!("select a{}", chain(" collate x"))),
            ("parentheses", format!("select {}1{}", chain("("), chain(")"))),
            ("functions", format!("select {}1{}", chain("abs("), chain(")"))),
            ("case", format!("select {}1{}", chain("case when a then "), chain(" end"))),
            ("else", format!("select {}1{}", chain("case when a then 1 else "), chain(" end"))),
            ("union", format!("select 1{}", chain(" union all select 1"))),
            ("except", format!("select 1{}", chain(" except select 1"))),
            ("join", format!("select 1 from s.a{}", chain(" join s.b on a = b"))),
            ("tables", format!("select 1 from s.a{}", chain(", s.b"))),
            ("subqueries", format!("select 1 from {}s.a{}", chain("(select 1 from "), chain(")"))),
            ("exists", format!("select {}1{}", chain("exists (select "), chain(")"))),
        ]
    }

    /// A part of a chain, as the first operand of the next one: 40 pairs of parentheses are no more than the parser takes.
    fn tower(count: usize) -> String {
        let chain = " and a".repeat(count / 40);
        (0..40).fold("a".to_owned(), |inner, _| format!("({inner}{chain})"))
    }

    #[test]
    fn what_is_too_deep_is_an_error_and_no_crash() {
        // The stack of a test's thread is 2 MiB.
        for count in [1_500, 20_000] {
            for (name, text) in chains(count) {
                let message = refused(&text);
                assert!(
                    message.contains("nested here")
                        || message.contains("words and signs")
                        || message.contains("too deeply"),
                    "{name}: {message}"
                );
            }
            assert!(refused(&format!("select {}", tower(count))).contains("nested here"));
            let condition = check_condition(&format!("a = 1{}", " and a = 1".repeat(count))).unwrap_err();
            assert!(condition.contains("nested here"), "{condition}");
        }
    }

    /// As large as that of the command line's threads; a test's has 2 MiB.
    fn with_stack(test: fn()) {
        std::thread::Builder::new().stack_size(32 << 20).spawn(test).unwrap().join().unwrap();
    }

    #[test]
    fn what_is_wide_is_no_problem() {
        with_stack(wide);
    }

    fn wide() {
        let list = |item: &str, count: usize| vec![item; count].join(", ");
        for text in [
            format!("select 1 from s.t where a in ({})", list("'x'", 40_000)),
            format!("select {}", list("a * b + c::int - abs(d) as x", 2_000)),
            format!("select {}", list("case when a = 1 and b = 2 then 'x' when c or d then 'y' else z end", 1_000)),
            format!("select case {} end", "when a = 1 and b = 2 then 'x' ".repeat(2_000)),
            format!("select 1 from s.t where a{}", " or b".repeat(900)),
            format!("select 1{}", " union all select 1 + 2 from s.t where a and b".repeat(300)),
            format!("select 1 from s.a{}", " join s.b on a = b and c = d".repeat(100)),
        ] {
            if let Err(problems) = Query::parse("query.sql", &text) {
                panic!("{}: {}", &text[..60], problems[0].message);
            }
        }
    }

    /// Each place is found without reading the text from its start: that took minutes.
    #[test]
    fn many_rows_of_values_take_no_longer_than_they_must() {
        let (sender, done) = std::sync::mpsc::channel();
        let looked_at = move || {
            let text = format!("select * from (values {}) t(a)", vec!["(1)"; 20_000].join(", "));
            let parts = split("query", &text).map(|parts| parts.len());
            let asked = check_question("query", &text);
            let tables = Query::parse("query.sql", &text).map(|query| query.references.len());
            let _ = sender.send((parts, asked, tables));
        };
        std::thread::Builder::new().stack_size(32 << 20).spawn(looked_at).unwrap();
        assert_eq!(done.recv_timeout(std::time::Duration::from_secs(20)).unwrap(), (Ok(1), Ok(()), Ok(0)));
    }

    #[test]
    fn steps_count_as_often_as_they_are_used() {
        let steps = |count: usize, from: &str| {
            let steps: Vec<String> = (1..=count)
                .map(|step| format!("c{step} as (select * from {})", from.replace('#', &format!("c{}", step - 1))))
                .collect();
            format!("with c0 as (select * from s.t), {} select * from c{count}", steps.join(", "))
        };
        assert!(refused(&steps(40, "# a, # b")).contains("counted each time"));
        assert!(refused(&steps(300, "#")).contains("one above the other"));
        for base in ["select 1 as l", "select * from generate_series(1, 3)", "values (1)"] {
            let doubled = steps(40, "# a, # b").replace("select * from s.t", base);
            assert!(refused(&doubled).contains("counted each time"), "{base}");
        }
        for text in [steps(150, "#"), steps(10, "# a, # b")] {
            assert!(Query::parse("query.sql", &text).is_ok());
        }
        let nested = "with a as (with b as (select * from s.t, s.t) select * from b x, b y) select * from a x, a y";
        let query = Query::parse("query.sql", nested).unwrap();
        assert_eq!(query.references.len(), 2);
    }
}
