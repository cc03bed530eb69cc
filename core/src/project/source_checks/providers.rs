//! What `[providers]` and `[landings]` may not say although they parse.

use chrono::NaiveDate;

use super::join;
use crate::diagnostic::{self, Diagnostic};
use crate::document::{Document, Step};
use crate::name::{TableName, is_identifier};
use crate::project::variables_of;
use crate::sources::{
    Answer, Landing, Placeholder, Provider, ProviderRequest, RequestPeriod, Sources, Template, is_date, pointer_steps,
    wrong_symbol,
};

pub(super) fn check(sources: &Sources, document: &Document<'_>) -> Vec<Diagnostic> {
    let mut problems = Vec::new();
    for (name, provider) in &sources.providers {
        let place: [Step<'_>; 2] = ["providers".into(), name.as_str().into()];
        is_name(name, "provider", document, &place, &mut problems);
        let check = Check { document, place: &place };
        check.address(name, provider, &mut problems);
        check.numbers(provider, &mut problems);
        if provider.requests.is_empty() {
            let problem = check.at("requests", format!("`{name}` has no request"));
            problems.push(problem.with_help("describe at least one in `[providers.<name>.requests.<request>]`"));
        }
        for (name, request) in &provider.requests {
            let place = join(&place, &["requests".into(), name.as_str().into()]);
            is_name(name, "request", document, &place, &mut problems);
            Check { document, place: &place }.request(request, provider.key.is_some(), &mut problems);
        }
    }
    for (name, landing) in &sources.landings {
        let place: [Step<'_>; 2] = ["landings".into(), name.as_str().into()];
        is_name(name, "landing", document, &place, &mut problems);
        Check { document, place: &place }.landing(landing, sources, &mut problems);
    }
    problems
}

fn is_name(name: &str, what: &str, document: &Document<'_>, place: &[Step<'_>], problems: &mut Vec<Diagnostic>) {
    if !is_identifier(name) {
        let problem = document.at_key(place, format!("`{name}` is not a name of a {what}"));
        problems.push(problem.with_help("use lower-case letters, digits and `_`, a letter first"));
    }
}

/// A part of the file.
struct Check<'a, 't> {
    document: &'a Document<'t>,
    place: &'a [Step<'a>],
}

impl Check<'_, '_> {
    fn at(&self, key: &str, message: impl Into<String>) -> Diagnostic {
        self.document.at_value(&join(self.place, &[key.into()]), message)
    }

    /// Secrets are not shown: neither the line nor the value.
    fn address(&self, name: &str, provider: &Provider, problems: &mut Vec<Diagnostic>) {
        let secret = |what: &str| Diagnostic::of_file("sources.toml", format!("`providers.{name}`: {what}"));
        let rest = ["https://", "http://"].into_iter().find_map(|scheme| provider.url.strip_prefix(scheme));
        let has_variables = !variables_of(&provider.url).is_empty();
        match rest {
            _ if provider.url.contains('@') => {
                problems.push(secret("the URL names a user: take it out, and write `key = \"env:NAME\"`"));
            }
            Some(rest) if !rest.is_empty() && !rest.contains(['?', '#', '{']) => {}
            None if has_variables => {}
            Some(_) | None => {
                let problem = self.at("url", "this is not the start of a provider's URLs");
                problems.push(problem.with_help("write `https://host`; query and placeholders belong into `path`"));
            }
        }
        let is_reference = |text: &str| {
            text.split_once(':').is_some_and(|(kind, name)| matches!(kind, "env" | "file" | "ssm") && !name.is_empty())
        };
        let Some(key) = &provider.key else { return };
        if !is_reference(key) {
            problems.push(secret(
                "`key` is not a place: write `env:NAME`, `file:/path` or `ssm:/path`, never the key itself",
            ));
        }
        // A text with a mistake of its own may use it.
        let uses = |text: &String| Template::parse(text).ok().is_none_or(|template| template.has(Placeholder::Key));
        let mut texts = provider.requests.values().flat_map(|r| std::iter::once(&r.path).chain(r.headers.values()));
        if !provider.requests.is_empty() && !texts.any(uses) {
            let problem = self.at("key", "no request uses the key");
            problems.push(problem.with_help("write `{key}` where it belongs, or take `key` out"));
        }
    }

    fn numbers(&self, provider: &Provider, problems: &mut Vec<Diagnostic>) {
        let limits = &provider.limits;
        let numbers = [
            (vec!["concurrency"], Some(provider.concurrency), 32),
            (vec!["attempts"], Some(provider.attempts), 10),
            (vec!["timeout_s"], Some(provider.timeout_s), 600),
            (vec!["limits", "per_second"], limits.per_second, 100),
            (vec!["limits", "per_minute"], limits.per_minute, 5_000),
            (vec!["limits", "per_day"], limits.per_day, u32::MAX),
        ];
        for (keys, number, most) in numbers {
            let Some(number) = number.filter(|number| !(1..=most).contains(number)) else { continue };
            let steps: Vec<Step<'_>> = keys.iter().map(|key| Step::Key(key)).collect();
            let name = keys.last().copied().unwrap_or_default();
            let problem = self.document.at_value(&join(self.place, &steps), format!("`{name}` is {number}"));
            let range = if most == u32::MAX { "1 or more".to_owned() } else { format!("1 to {most}") };
            problems.push(problem.with_help(format!("use {range}")));
        }
    }

    fn request(&self, request: &ProviderRequest, has_key: bool, problems: &mut Vec<Diagnostic>) {
        if !request.path.starts_with('/') {
            problems.push(self.at("path", "the path of a request begins with `/`"));
        }
        self.headers(request, has_key, problems);
        self.answer(&request.answer, problems);
        let template = match Template::parse(&request.path) {
            Ok(template) => template,
            Err(why) => return problems.push(self.at("path", why)),
        };
        let mut problem = |message: String, help: &str| problems.push(self.at("path", message).with_help(help));
        for one in template.placeholders() {
            let name = one.name();
            match (one, request.period) {
                (Placeholder::Key, _) if !has_key => {
                    problem("the provider has no key".to_owned(), "set its `key`, or take `{key}` out");
                }
                (Placeholder::Date, RequestPeriod::Month) => {
                    problem("a month has no `{date}`".to_owned(), "write `{from}` and `{to}`, or `period = \"day\"`");
                }
                (Placeholder::Month, RequestPeriod::Day) => {
                    problem("a day has no `{month}`".to_owned(), "write `{date}`, or `period = \"month\"`");
                }
                (_, RequestPeriod::All) if one.is_of_period() => {
                    problem(format!("`{{{name}}}` needs a period"), "set `period` to \"day\" or \"month\"");
                }
                _ => {}
            }
        }
        if request.period != RequestPeriod::All && !template.placeholders().any(Placeholder::is_of_period) {
            problem(
                "all periods would ask for the same".to_owned(),
                "write `{date}`, `{month}` or `{from}` into the path, or take `period` out",
            );
        }
    }

    fn headers(&self, request: &ProviderRequest, has_key: bool, problems: &mut Vec<Diagnostic>) {
        for (name, value) in &request.headers {
            let only_key =
                Template::parse(value).is_ok_and(|t| t.placeholders().all(|one| one == Placeholder::Key && has_key));
            if !only_key {
                let steps = join(self.place, &["headers".into(), name.as_str().into()]);
                let problem = self.document.at_value(&steps, "a header may hold `{key}`, and no other braces");
                problems.push(problem.with_help("the provider's `key` says where the key is"));
            }
        }
    }

    fn answer(&self, answer: &Answer, problems: &mut Vec<Diagnostic>) {
        let mut wrong = |key: &str, message: String| {
            let steps = join(self.place, &["answer".into(), answer.key().into(), key.into()]);
            problems.push(self.document.at_value(&steps, message));
        };
        match answer {
            Answer::Json(json) => {
                for (key, pointer) in [("data", Some(&json.data)), ("symbol", json.symbol.as_ref())] {
                    if let Some(Err(why)) = pointer.map(|pointer| pointer_steps(pointer)) {
                        wrong(key, why);
                    }
                }
            }
            Answer::Csv(csv) if csv.columns.is_empty() => wrong("columns", "name at least one column".to_owned()),
            Answer::Csv(_) => {}
            Answer::File(file) if !is_ending(&file.ending) => {
                wrong(
                    "ending",
                    "an ending has small letters, digits and points, such as `csv.gz`; `none` and `bad` are taken"
                        .to_owned(),
                );
            }
            Answer::File(_) => {}
        }
    }

    fn landing(&self, landing: &Landing, sources: &Sources, problems: &mut Vec<Diagnostic>) {
        let Some(request) = self.requested(landing, sources, problems) else { return };
        let has_symbol = Template::parse(&request.path).is_ok_and(|template| template.has(Placeholder::Symbol));
        let has_symbols = !landing.symbols.is_empty() || landing.symbols_file.is_some();
        if has_symbol && !has_symbols {
            let problem = self.document.at_key(self.place, "the request is sent for a symbol, and there is none");
            problems.push(problem.with_help("set `symbols` or `symbols_file`"));
        }
        if !has_symbol && has_symbols {
            let key = if landing.symbols.is_empty() { "symbols_file" } else { "symbols" };
            problems.push(self.at(key, "the request has no `{symbol}`").with_help("take the symbols out"));
        }
        for (index, symbol) in landing.symbols.iter().enumerate() {
            let is_twice = landing.symbols.iter().take(index).any(|other| other == symbol);
            let why = if is_twice { Some("is here twice") } else { wrong_symbol(symbol) };
            if let Some(why) = why {
                let steps = join(self.place, &["symbols".into(), index.into()]);
                problems.push(self.document.at_value(&steps, format!("`{}` {why}", symbol.escape_debug())));
            }
        }
        self.days(landing, request.period, problems);
    }

    fn requested<'s>(
        &self,
        landing: &Landing,
        sources: &'s Sources,
        problems: &mut Vec<Diagnostic>,
    ) -> Option<&'s ProviderRequest> {
        if let Some(requested) = sources.requested(landing) {
            return Some(requested.request);
        }
        let all: Vec<String> = sources
            .providers
            .iter()
            .flat_map(|(name, provider)| provider.requests.keys().map(move |request| format!("{name}.{request}")))
            .collect();
        let meant = diagnostic::closest(&landing.request, all.iter().map(String::as_str));
        let help = match meant {
            Some(meant) => format!("did you mean `{meant}`?"),
            None if all.is_empty() => "no provider of the project is in order".to_owned(),
            None => format!("the project has {}", all.join(", ")),
        };
        let problem = self.at("request", format!("`{}` is no request of a provider", landing.request));
        problems.push(problem.with_help(help));
        None
    }

    fn days(&self, landing: &Landing, period: RequestPeriod, problems: &mut Vec<Diagnostic>) {
        let days = [("start", &landing.start), ("end", &landing.end)];
        for (key, day) in days {
            if day.as_ref().is_some_and(|day| !is_date(day)) {
                problems.push(self.at(key, "this is not a day").with_help("write `YYYY-MM-DD`"));
            }
        }
        if let Some(calendar) = &landing.calendar
            && !is_column(calendar)
        {
            let problem = self.at("calendar", format!("`{calendar}` is no column of a table"));
            problems
                .push(problem.with_help("write `<layer>.<table>.<column>`, such as `silver.sessions.session_date`"));
        }
        let given = [("start", &landing.start), ("end", &landing.end), ("calendar", &landing.calendar)];
        match period {
            RequestPeriod::All => {
                for (key, _) in given.into_iter().filter(|(_, value)| value.is_some()) {
                    let problem = self.at(key, "the request has no period: it covers everything that the provider has");
                    problems.push(problem.with_help(format!("take `{key}` out")));
                }
            }
            RequestPeriod::Day | RequestPeriod::Month if landing.start.is_none() => {
                let problem = self.document.at_key(self.place, "nothing says from which day on data are wanted");
                problems.push(problem.with_help("set `start`, such as `start = \"2024-01-02\"`"));
            }
            RequestPeriod::Day | RequestPeriod::Month => {
                let parsed = |day: &Option<String>| day.as_ref().and_then(|day| day.parse::<NaiveDate>().ok());
                if let (Some(start), Some(end)) = (parsed(&landing.start), parsed(&landing.end))
                    && end < start
                {
                    problems.push(self.at("end", "the last day is before the first one"));
                }
            }
        }
    }
}

/// Two endings are those of answers without data.
fn is_ending(text: &str) -> bool {
    let is_part = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    text.split('.').all(is_part) && !matches!(text, "none" | "bad")
}

fn is_column(text: &str) -> bool {
    match text.split('.').collect::<Vec<_>>()[..] {
        [layer, table, column] => TableName::new(layer, table).is_ok() && is_identifier(column),
        _ => false,
    }
}
