//! `query.sql`: one statement that reads tables. Which tables and parameters, and where they are named.

mod limits;
mod numbers;
mod visitor;

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;

use sqlparser::ast::{Query as Ast, Statement};
use sqlparser::dialect::GenericDialect;
use sqlparser::keywords::Keyword;
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::{Location, Span, Token, TokenWithSpan, Tokenizer};

use crate::diagnostic::{Diagnostic, Lines};
use crate::name::TableName;

/// The layer of sources of files in SQL: `raw.<name>`.
pub const RAW: &str = "raw";
/// The layer of tables that others write in SQL: `external.<name>`.
pub const EXTERNAL: &str = "external";
/// Parameters that a query may use, without the `$`.
pub const PARAMETERS: [&str; 2] = ["interval_start", "interval_end"];

/// A query that parses; its columns and types are checked when it is planned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    pub text: String,
    /// In the order of the text; a table that is named twice is here twice. Names of CTEs are not.
    pub references: Vec<TableReference>,
    /// Without the `$`; some of [`PARAMETERS`].
    pub parameters: BTreeSet<String>,
    /// Where the first parameter stands, in bytes of the text.
    pub(crate) first_parameter: Option<Range<usize>>,
}

/// One place in which a query names a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableReference {
    /// `<layer>.<table>`, or `raw.<name>` of a source of files; lower case unless it was quoted.
    pub name: String,
    /// Bytes of the query's text.
    pub span: Range<usize>,
    /// From 1.
    pub line: usize,
    /// In characters, from 1.
    pub column: usize,
}

impl TableReference {
    /// `<name>` of `raw.<name>`.
    pub fn files(&self) -> Option<&str> {
        self.name.strip_prefix(RAW)?.strip_prefix('.')
    }

    /// The table, unless it is a source of files or no name that a table can have.
    pub fn table(&self) -> Option<TableName> {
        match self.files() {
            Some(_) => None,
            None => self.name.parse().ok(),
        }
    }
}

impl Query {
    /// `path` is used in messages only.
    ///
    /// # Errors
    /// What is wrong and where: a syntax error, more or less than one statement, a statement that is no query, a table
    /// without a layer, an unknown parameter.
    pub fn parse(path: &str, text: &str) -> Result<Self, Vec<Diagnostic>> {
        let source = SqlText::new(path, text);
        let tokens = source.tokens().map_err(|problem| vec![problem])?;
        let query = source.only_query(&tokens).map_err(|problem| vec![problem])?;
        let (parameters, mut problems) = source.parameters(&tokens);
        let first_parameter = tokens
            .iter()
            .find(|token| matches!(token.token, Token::Placeholder(_)))
            .map(|token| source.bytes(token.span));
        let (references, mut wrong) = visitor::references(&source, &query);
        problems.append(&mut wrong);
        if !problems.is_empty() {
            problems.sort_by_key(|problem| problem.span.start);
            return Err(problems);
        }
        Ok(Self { text: text.to_owned(), references, parameters, first_parameter })
    }

    /// Tables that the query reads: of the lake, and of others.
    pub fn tables(&self) -> BTreeSet<TableName> {
        self.references.iter().filter_map(TableReference::table).collect()
    }

    /// Sources of files that the query reads, without `raw.`.
    pub fn files(&self) -> BTreeSet<&str> {
        self.references.iter().filter_map(TableReference::files).collect()
    }

    pub fn uses_interval(&self) -> bool {
        !self.parameters.is_empty()
    }
}

/// Checks a condition on one row, such as `high >= low`.
///
/// # Errors
/// What is wrong with it: its syntax, a subquery, a parameter.
pub fn check_condition(text: &str) -> Result<(), String> {
    let mut parser = limited(text)?;
    let condition = parser.parse_expr().map_err(|error| syntax_message(&error).0)?;
    let rest = parser.peek_token();
    if rest.token != Token::EOF {
        return Err(format!("`{rest}` follows a condition that is already complete", rest = rest.token));
    }
    visitor::condition(&condition)
}

/// All statements of a text.
///
/// # Errors
/// What the parser says.
pub(crate) fn statements(text: &str) -> Result<Vec<Statement>, String> {
    limited(text)?.parse_statements().map_err(|error| syntax_message(&error).0)
}

/// A parser of a text that is not too large.
///
/// # Errors
/// What the tokenizer says, or that it is too large.
fn limited(text: &str) -> Result<Parser<'static>, String> {
    let tokens = Tokenizer::new(&GenericDialect {}, text).tokenize_with_location();
    let tokens = tokens.map_err(|error| syntax_message(&ParserError::from(error)).0)?;
    check(&tokens).map_err(|(_, problem)| problem)?;
    Ok(Parser::new(&GenericDialect {}).with_tokens_with_locations(tokens))
}

/// # Errors
/// Where the text is too large, or has a number that would become another.
fn check(tokens: &[TokenWithSpan]) -> Result<(), (Span, String)> {
    limits::check(tokens)?;
    numbers::check(tokens)
}

/// Tokens with their bytes in the text.
///
/// # Errors
/// What the tokenizer says.
pub(crate) fn spanned_tokens(text: &str) -> Result<Vec<(Token, Range<usize>)>, String> {
    let source = SqlText::new("", text);
    let tokens = source.tokens().map_err(|problem| problem.message)?;
    Ok(tokens.into_iter().map(|token| (token.token, source.bytes(token.span))).collect())
}

/// Names in a text that are joined by dots, such as `x.y` or `round`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chain {
    /// Without quotes, each with its bytes in the text.
    pub parts: Vec<(String, Range<usize>)>,
    /// A parenthesis follows.
    pub is_called: bool,
    /// `as` comes before.
    pub is_alias: bool,
}

/// All of them in the order of the text, keywords among them; none when the text is not SQL.
pub fn chains(text: &str) -> Vec<Chain> {
    let source = SqlText::new("", text);
    let tokens = source.tokens().unwrap_or_default();
    let mut chains: Vec<Chain> = Vec::new();
    // After `x.`; what a dot behind a parenthesis begins is no part of it.
    let (mut goes_on, mut is_alias, mut is_name) = (false, false, false);
    let meaningful = tokens.iter().filter(|token| !matches!(token.token, Token::Whitespace(_)));
    for token in meaningful {
        let last = chains.last_mut();
        match (&token.token, last) {
            (Token::Word(word), last) => {
                let part = (word.value.clone(), source.bytes(token.span));
                match last {
                    Some(last) if goes_on => last.parts.push(part),
                    _ => chains.push(Chain { parts: vec![part], is_called: false, is_alias }),
                }
            }
            (Token::LParen, Some(last)) if last.parts.last().is_some_and(|part| ends_at(&source, &part.1, token)) => {
                last.is_called = true;
            }
            _ => {}
        }
        goes_on = is_name && token.token == Token::Period;
        is_name = matches!(token.token, Token::Word(_));
        is_alias = matches!(&token.token, Token::Word(word) if word.keyword == Keyword::AS);
    }
    chains
}

/// Only blanks lie between a part and a token.
fn ends_at(source: &SqlText<'_>, part: &Range<usize>, token: &TokenWithSpan) -> bool {
    source.text[part.end..source.bytes(token.span).start].trim().is_empty()
}

/// The statements of a text as they are written, each without its `;`. Blanks stand for the text before, so that places are those of
/// the whole text. Text that no statement is in is left out.
///
/// # Errors
/// What the tokenizer says, with the place.
pub fn split(path: &str, text: &str) -> Result<Vec<String>, Diagnostic> {
    let source = SqlText::new(path, text);
    let (mut parts, mut start, mut is_empty) = (Vec::new(), 0, true);
    let part = |span: Range<usize>| format!("{}{}", blanked(&text[..span.start]), text[span].trim_end());
    for token in source.tokens()? {
        let span = source.bytes(token.span);
        match token.token {
            Token::SemiColon => {
                parts.extend((!is_empty).then(|| part(start..span.start)));
                (start, is_empty) = (span.end, true);
            }
            Token::Whitespace(_) | Token::EOF => {}
            // Comments in front of a statement are none of it.
            _ if is_empty => (start, is_empty) = (span.start, false),
            _ => {}
        }
    }
    parts.extend((!is_empty).then(|| part(start..text.len())));
    Ok(parts)
}

/// Whether the last statement of a text ends with a `;`: not one within a text, a quoted name or a comment.
pub fn ends_statement(text: &str) -> bool {
    match Tokenizer::new(&GenericDialect {}, text).tokenize() {
        Ok(tokens) => {
            let last = tokens.iter().rev().find(|token| !matches!(token, Token::Whitespace(_)));
            last == Some(&Token::SemiColon)
        }
        // An unclosed text or comment continues on the next line. Other mistakes are reported when the statement has ended.
        Err(error) => {
            let is_open = ["Unterminated", "Unexpected EOF", "Expected close delimiter"];
            !is_open.iter().any(|open| error.message.contains(open)) && text.trim_end().ends_with(';')
        }
    }
}

/// As many lines, and as many blanks in the last one as it has characters.
fn blanked(text: &str) -> String {
    let last = text.rsplit('\n').next().unwrap_or_default();
    format!("{}{}", "\n".repeat(text.matches('\n').count()), " ".repeat(last.chars().count()))
}

/// One statement that reads, in a text that somebody else carries out.
///
/// # Errors
/// Its place, where it does not parse, where it would change something, and where the parser reads it in another way than SQL says.
pub fn check_question(path: &str, text: &str) -> Result<(), Diagnostic> {
    let source = SqlText::new(path, text);
    let tokens = source.tokens()?;
    source.check_tokens(&tokens)?;
    // `explain analyze` and what else only DataFusion's dialect has is left to it.
    let statements = Parser::new(&GenericDialect {}).with_tokens_with_locations(tokens.clone()).parse_statements();
    let statements = statements.map_err(|error| source.syntax(&error))?;
    let first = tokens.iter().find(|token| !matches!(token.token, Token::Whitespace(_)));
    for statement in &statements {
        let reads = matches!(
            statement,
            Statement::Query(_)
                | Statement::Explain { .. }
                | Statement::ExplainTable { .. }
                | Statement::ShowTables { .. }
                | Statement::ShowColumns { .. }
                | Statement::ShowVariable { .. }
                | Statement::ShowFunctions { .. }
        );
        if let (false, Some(first)) = (reads, first) {
            let problem = source.at(first.span, format!("`{}` changes something, and a query only reads", first.token));
            return Err(problem.with_help(
                "write one `select`; jobs write tables (`pulse run`), and `pulse table` restores, renames and drops them",
            ));
        }
        visitor::reading(&source, statement)?;
        visitor::cost(&source, statement)?;
    }
    Ok(())
}

struct SqlText<'a> {
    path: &'a str,
    text: Arc<str>,
    lines: Lines,
}

impl<'a> SqlText<'a> {
    fn new(path: &'a str, text: &str) -> Self {
        Self { path, text: Arc::from(text), lines: Lines::of(text) }
    }
}

impl SqlText<'_> {
    fn tokens(&self) -> Result<Vec<TokenWithSpan>, Diagnostic> {
        Tokenizer::new(&GenericDialect {}, &self.text)
            .tokenize_with_location()
            .map_err(|error| self.syntax(&ParserError::from(error)))
    }

    fn check_tokens(&self, tokens: &[TokenWithSpan]) -> Result<(), Diagnostic> {
        check(tokens).map_err(|(span, problem)| self.at(span, problem))
    }

    fn only_query(&self, tokens: &[TokenWithSpan]) -> Result<Box<Ast>, Diagnostic> {
        self.check_tokens(tokens)?;
        let mut meaningful = tokens.iter().filter(|token| !matches!(token.token, Token::Whitespace(_) | Token::EOF));
        let Some(first) = meaningful.clone().find(|token| token.token != Token::SemiColon) else {
            return Err(Diagnostic::of_file(self.path, "the query is empty").with_help("write one `select` statement"));
        };
        let statements = Parser::new(&GenericDialect {})
            .with_tokens_with_locations(tokens.to_vec())
            .parse_statements()
            .map_err(|error| self.syntax(&error))?;
        if statements.len() > 1 {
            let _ = meaningful.find(|token| token.token == Token::SemiColon);
            let second = meaningful.find(|token| token.token != Token::SemiColon).unwrap_or(first);
            return Err(self.at(second.span, "a second statement").with_help(
                "a job is one query: move the second one to a job of its own, or make the first a `with` step",
            ));
        }
        match statements.into_iter().next() {
            Some(Statement::Query(query)) => Ok(query),
            Some(_) | None => Err(self
                .at(first.span, format!("`{}` is not a query", first.token))
                .with_help("write one `select`; the sink in job.toml says how its rows reach the table")),
        }
    }

    fn parameters(&self, tokens: &[TokenWithSpan]) -> (BTreeSet<String>, Vec<Diagnostic>) {
        let mut known = BTreeSet::new();
        let mut problems = Vec::new();
        for token in tokens {
            let Token::Placeholder(text) = &token.token else { continue };
            match PARAMETERS.into_iter().find(|name| text.strip_prefix('$') == Some(*name)) {
                Some(name) => {
                    known.insert(name.to_owned());
                }
                None => problems.push(
                    self.at(token.span, format!("unknown parameter `{text}`"))
                        .with_help("declare it in project.toml (`[variables.name]`); `$interval_start`, `$interval_end` and `$run_date` are there"),
                ),
            }
        }
        (known, problems)
    }

    fn syntax(&self, error: &ParserError) -> Diagnostic {
        let (message, location) = syntax_message(error);
        let start = location.map_or(self.text.len(), |(line, column)| self.lines.offset(&self.text, line, column));
        let word =
            self.text[start..].find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(self.text.len() - start);
        Diagnostic::new(self.path, &self.text, start..start + word.max(usize::from(start < self.text.len())), message)
    }

    fn at(&self, span: Span, message: impl Into<String>) -> Diagnostic {
        Diagnostic::new(self.path, &self.text, self.bytes(span), message)
    }

    fn bytes(&self, span: Span) -> Range<usize> {
        self.byte(span.start)..self.byte(span.end)
    }

    fn byte(&self, location: Location) -> usize {
        let whole = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
        self.lines.offset(&self.text, whole(location.line), whole(location.column))
    }
}

/// The parser's words without its position, and the position: sqlparser gives it in the text alone.
fn syntax_message(error: &ParserError) -> (String, Option<(usize, usize)>) {
    let text = match error {
        ParserError::TokenizerError(text) | ParserError::ParserError(text) => text.as_str(),
        ParserError::RecursionLimitExceeded => "the query is nested too deeply: split it into `with` steps",
    };
    let (words, location) = match text.rsplit_once(" at Line: ") {
        Some((words, position)) => (words, parse_position(position)),
        None => (text, None),
    };
    let mut letters = words.chars();
    let lower = letters.next().map_or_else(String::new, |first| first.to_lowercase().chain(letters).collect());
    (format!("SQL syntax: {lower}"), location)
}

fn parse_position(text: &str) -> Option<(usize, usize)> {
    let (line, column) = text.split_once(", Column: ")?;
    Some((line.trim().parse().ok()?, column.trim().parse().ok()?))
}

#[cfg(test)]
mod tests;
