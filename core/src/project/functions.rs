//! `functions.sql`: SQL functions of a project. A call is replaced by the function's expression before the query is parsed.

use std::collections::BTreeMap;
use std::ops::Range;

use sqlparser::ast::{CreateFunction, CreateFunctionBody, Statement};
use sqlparser::tokenizer::Token;

use super::variable::Literal;
use super::written::Replaced;
use crate::sql;

/// Name of the file in the project's folder.
pub(super) const FILE: &str = "functions.sql";

/// By name, in lower case.
#[derive(Debug, Clone, Default)]
pub(super) struct Functions(BTreeMap<String, Function>);

#[derive(Debug, Clone)]
struct Function {
    /// Name and type.
    parameters: Vec<(String, String)>,
    returns: String,
    /// Without calls of other functions and without variables.
    body: String,
}

/// What is wrong at a place of a text.
pub(super) struct Wrong {
    pub(super) span: Range<usize>,
    pub(super) message: String,
}

/// What a text's names stand for.
pub(super) struct Meanings<'a> {
    pub(super) functions: &'a Functions,
    /// The value of a variable; an error when it has none; none when nobody declares it.
    pub(super) value: &'a dyn Fn(&str) -> Option<Result<Literal, String>>,
}

impl Functions {
    /// A function may call those that stand above it.
    pub(super) fn parse(text: &str, value: &dyn Fn(&str) -> Option<Result<Literal, String>>) -> Result<Self, Wrong> {
        let everywhere = |message: String| Wrong { span: 0..text.len().min(1), message };
        let statements = sql::statements(text).map_err(everywhere)?;
        let mut functions = Self::default();
        for statement in statements {
            let Statement::CreateFunction(create) = statement else {
                return Err(everywhere(format!("`{statement}` is no `create function`")));
            };
            let name = create.name.to_string().to_lowercase();
            let function =
                functions.function(&create, value).map_err(|message| everywhere(format!("{name}: {message}")))?;
            if functions.0.insert(name.clone(), function).is_some() {
                return Err(everywhere(format!("{name}: there are two functions of this name")));
            }
        }
        Ok(functions)
    }

    fn function(
        &self,
        create: &CreateFunction,
        value: &dyn Fn(&str) -> Option<Result<Literal, String>>,
    ) -> Result<Function, String> {
        let form = "write `create function name(a double, b double) returns double return (a + b) / 2;`";
        let Some(CreateFunctionBody::Return(expression)) = &create.function_body else {
            return Err(format!("it has no `return`: {form}"));
        };
        let returns = create.return_type.as_ref().ok_or_else(|| format!("it has no `returns`: {form}"))?.to_string();
        let mut parameters = Vec::new();
        for argument in create.args.iter().flatten() {
            let name = argument.name.as_ref().ok_or_else(|| format!("a parameter has no name: {form}"))?;
            parameters.push((name.value.to_lowercase(), argument.data_type.to_string()));
        }
        let body =
            expand(&expression.to_string(), &Meanings { functions: self, value }).map_err(|wrong| wrong.message)?;
        Ok(Function { parameters, returns, body: body.text })
    }
}

impl Function {
    fn call(&self, arguments: &[String]) -> Result<String, String> {
        let (wanted, given) = (self.parameters.len(), arguments.len());
        if wanted != given {
            return Err(format!("it takes {wanted} arguments, and {given} are given"));
        }
        let tokens = sql::spanned_tokens(&self.body)?;
        let mut body = String::new();
        let mut end = 0;
        for (index, (token, span)) in tokens.iter().enumerate() {
            let Some(name) = bare_word(&tokens, index, token) else { continue };
            let found = self.parameters.iter().zip(arguments).find(|((parameter, _), _)| *parameter == name);
            let Some(((_, data_type), argument)) = found else { continue };
            body.push_str(&self.body[end..span.start]);
            body.push_str(&format!("cast(({argument}) as {data_type})"));
            end = span.end;
        }
        body.push_str(&self.body[end..]);
        Ok(format!("cast(({body}) as {})", self.returns))
    }
}

/// The text with values in place of variables, and expressions in place of calls.
pub(super) fn expand(text: &str, meanings: &Meanings<'_>) -> Result<Replaced, Wrong> {
    // The parser reports a text that has no tokens.
    let Ok(tokens) = sql::spanned_tokens(text) else { return Ok(Replaced::new(text, [])) };
    let mut edits = Vec::new();
    let mut index = 0;
    while let Some((token, span)) = tokens.get(index) {
        index += 1;
        let (replacement, last) = match token {
            Token::Placeholder(name) => match name.strip_prefix('$').and_then(meanings.value) {
                Some(value) => (value.map_err(|message| Wrong { span: span.clone(), message })?.sql, span.end),
                None => continue,
            },
            _ => {
                let name = word(&tokens, index - 1, token);
                let Some((function, name)) = name.and_then(|name| meanings.functions.0.get(&name).map(|f| (f, name)))
                else {
                    continue;
                };
                let Some(call) = Call::at(&tokens, index) else { continue };
                let arguments = call.arguments.iter().map(|span| {
                    let expanded = expand(&text[span.clone()], meanings).map_err(|wrong| Wrong {
                        span: span.start + wrong.span.start..span.start + wrong.span.end,
                        ..wrong
                    });
                    expanded.map(|expanded| expanded.text)
                });
                let arguments = arguments.collect::<Result<Vec<_>, _>>()?;
                let called = function.call(&arguments);
                let called =
                    called.map_err(|message| Wrong { span: span.clone(), message: format!("{name}: {message}") })?;
                index = call.next;
                (called, call.end)
            }
        };
        edits.push((span.start..last, replacement));
    }
    Ok(Replaced::new(text, edits))
}

type Tokens = [(Token, Range<usize>)];

/// An unquoted word that is not a part of a longer name, in lower case.
fn word(tokens: &Tokens, index: usize, token: &Token) -> Option<String> {
    let Token::Word(word) = token else { return None };
    let before = tokens[..index].iter().rev().find(|(token, _)| !matches!(token, Token::Whitespace(_)));
    let is_part = matches!(before, Some((Token::Period, _)));
    (word.quote_style.is_none() && !is_part).then(|| word.value.to_lowercase())
}

/// As [`word`], and neither a call nor a table before its column.
fn bare_word(tokens: &Tokens, index: usize, token: &Token) -> Option<String> {
    let after = tokens.get(index + 1..)?.iter().find(|(token, _)| !matches!(token, Token::Whitespace(_)));
    match after {
        Some((Token::LParen | Token::Period, _)) => None,
        _ => word(tokens, index, token),
    }
}

/// The arguments behind a function's name.
struct Call {
    arguments: Vec<Range<usize>>,
    /// Index of the token behind the last parenthesis.
    next: usize,
    end: usize,
}

impl Call {
    /// None where no parenthesis follows, or where it is not closed.
    fn at(tokens: &Tokens, index: usize) -> Option<Self> {
        let open = index + tokens.get(index..)?.iter().position(|(token, _)| !matches!(token, Token::Whitespace(_)))?;
        let (Token::LParen, first) = tokens.get(open)? else { return None };
        let (mut depth, mut start, mut is_empty) = (0_usize, first.end, true);
        let mut arguments = Vec::new();
        for (offset, (token, span)) in tokens.iter().enumerate().skip(open + 1) {
            match token {
                Token::RParen if depth == 0 => {
                    if !is_empty || !arguments.is_empty() {
                        arguments.push(start..span.start);
                    }
                    return Some(Self { arguments, next: offset + 1, end: span.end });
                }
                Token::Comma if depth == 0 => {
                    arguments.push(start..span.start);
                    start = span.end;
                }
                Token::LParen | Token::LBracket | Token::LBrace => depth += 1,
                Token::RParen | Token::RBracket | Token::RBrace => depth = depth.saturating_sub(1),
                _ => {}
            }
            is_empty &= matches!(token, Token::Whitespace(_));
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "create function mid(high double, low double) returns double return (high + low) / 2;\n\
                        create function spread(high double, low double) returns double return (high - low) / mid(high, low) * $scale;";

    fn value(name: &str) -> Option<Result<Literal, String>> {
        match name {
            "scale" => Some(Literal::new(&crate::sources::ColumnType::Bigint, "100")),
            "lost" => Some(Err("`lost` has no value".to_owned())),
            _ => None,
        }
    }

    fn expanded(text: &str) -> String {
        let functions = Functions::parse(TEXT, &value).map_err(|wrong| wrong.message).unwrap();
        match expand(text, &Meanings { functions: &functions, value: &value }) {
            Ok(expanded) => expanded.text,
            Err(wrong) => format!("{}: {}", &text[wrong.span], wrong.message),
        }
    }

    #[test]
    fn a_call_becomes_the_functions_expression() {
        insta::assert_snapshot!(
            expanded("select Mid(a, (b + 1)) as mid, x.mid, \"mid\"(1) from t -- mid(1, 2)"),
            @r#"select cast(((cast((a) as DOUBLE) + cast(( (b + 1)) as DOUBLE)) / 2) as DOUBLE) as mid, x.mid, "mid"(1) from t -- mid(1, 2)"#
        );
        assert_eq!(expanded("select 'mid(1, 2) $scale' from t"), "select 'mid(1, 2) $scale' from t");
        assert_eq!(
            expanded("where v > $scale and w < $interval_end"),
            "where v > cast(100 as bigint) and w < $interval_end"
        );
    }

    #[test]
    fn functions_call_those_above_them_and_arguments_hold_calls() {
        let nested = expanded("select spread(mid(1, 2), array[3, 4][1])");
        assert!(
            !nested.contains("mid(") && !nested.contains("spread(") && nested.contains("cast(100 as bigint)"),
            "{nested}"
        );
        let tokens = sql::spanned_tokens(&nested).unwrap();
        assert!(!tokens.iter().any(|(token, _)| matches!(token, Token::Placeholder(_))));
    }

    #[test]
    fn what_is_wrong_stands_at_its_place() {
        assert_eq!(expanded("select mid(1)"), "mid: mid: it takes 2 arguments, and 1 are given");
        assert_eq!(expanded("select mid(1, $lost)"), "$lost: `lost` has no value");
        let wrong = |text: &str| Functions::parse(text, &value).map(|_| ()).map_err(|wrong| wrong.message).unwrap_err();
        assert!(wrong("create function f(a double) returns double as 'x'").contains("it has no `return`"));
        assert!(wrong("create function f(double) returns double return 1").contains("no name"));
        assert!(wrong("create function f(a double) return a").contains("no `returns`"));
        assert!(wrong("select 1").contains("no `create function`"));
        assert!(wrong(&format!("{TEXT}{TEXT}")).contains("two functions"));
    }
}
