//! `pulse query`

use std::io::{IsTerminal as _, Read as _};
use std::process::ExitCode;

use datafusion::arrow::datatypes::SchemaRef;
use pulse_core::project::{Parsed, Project, ProjectFiles, Written};
use pulse_core::settings::Settings;
use pulse_core::sql::{check_question, split};
use pulse_core::{Error, Result};
use pulse_engine::job::{Answer, Named, ask};
use pulse_engine::type_name::type_name;

use crate::args::{Global, Output, QueryOptions};
use crate::home::home;
use crate::interrupt::{interrupted, watch_for_signals};
use crate::prompt::{Prompt, Typed, understood};
use crate::rows::{Shown, print};
use crate::{output, setup, shape};

/// What messages call the text.
const QUERY: &str = "query";
/// Rows that a terminal shows.
const ROWS: usize = 40;

const HELP: &str = "\
A statement ends with `;`. Beside queries there are:
  show tables;              tables of the lake, sources of files and tables of others
  describe silver.bars;     columns of one, with their types
  select .. from silver.bars@3;   a table as it was in version 3
  select .. where day > $day;     the value of a variable of the project
  quit                      or Ctrl-D; Tab completes names, Ctrl-R searches what was typed before";

pub(crate) async fn query(global: &Global, options: &QueryOptions) -> Result<ExitCode> {
    let questions = Questions { global, settings: setup::settings(global)?, limit: options.limit };
    match text(options)? {
        Some(text) => questions.answer_all(&text).await,
        None => questions.converse().await,
    }?;
    Ok(ExitCode::SUCCESS)
}

/// The statement that was given; none where a person is to be asked.
fn text(options: &QueryOptions) -> Result<Option<String>> {
    let unreadable = |what: String| move |e| Error::invalid(format!("{what} cannot be read")).with_source(e);
    let text = match (&options.sql, &options.file) {
        (Some(sql), _) => sql.clone(),
        (None, Some(file)) => std::fs::read_to_string(file).map_err(unreadable(file.display().to_string()))?,
        (None, None) if std::io::stdin().is_terminal() => return Ok(None),
        (None, None) => {
            let mut text = String::new();
            std::io::stdin().read_to_string(&mut text).map_err(unreadable("stdin".to_owned()))?;
            text
        }
    };
    match text.trim().is_empty() {
        true => Err(Error::invalid("there is no query: write `pulse query \"select ..\"`, --file or a text on stdin")),
        false => Ok(Some(text)),
    }
}

struct Questions<'a> {
    global: &'a Global,
    settings: Settings,
    limit: Option<usize>,
}

impl Questions<'_> {
    /// Answers the statements of a text one after another, until one has a mistake.
    async fn answer_all(&self, text: &str) -> Result<()> {
        let statements = split(QUERY, text).map_err(Error::from)?;
        if statements.is_empty() {
            return Err(Error::invalid("there is no statement in the text"));
        }
        for (number, statement) in statements.iter().enumerate() {
            // Rows of CSV do not say where the next head begins.
            if number > 0 && self.global.output != Output::Json {
                output::line("");
            }
            self.answer(statement).await?;
        }
        Ok(())
    }

    /// Answers one statement, and returns the columns of the answer.
    async fn answer(&self, sql: &str) -> Result<Option<SchemaRef>> {
        let words: Vec<&str> = sql.trim().trim_end_matches(';').split_whitespace().collect();
        let is = |word: &str, wanted: &str| word.eq_ignore_ascii_case(wanted);
        match words[..] {
            [show, tables] if is(show, "show") && is(tables, "tables") => self.tables().await.map(|()| None),
            [describe, name] if is(describe, "describe") || is(describe, "desc") => self.describe(name).await.map(Some),
            [show, columns, from, name]
                if is(show, "show") && is(columns, "columns") && (is(from, "from") || is(from, "in")) =>
            {
                self.describe(name).await.map(Some)
            }
            _ => self.rows(sql).await.map(Some),
        }
    }

    async fn rows(&self, sql: &str) -> Result<SchemaRef> {
        let (sql, written) = self.rendered(sql)?;
        let typed = |error: Error| match &written {
            Some(written) => error.at_places(|found| written.place(found)),
            None => error,
        };
        let answer = self.plan(&sql).await.map_err(typed)?;
        let schema = std::sync::Arc::new(answer.rows.schema().as_arrow().clone());
        let stream = answer.stream(&sql).await.map_err(typed)?;
        let is_terminal = std::io::stdout().is_terminal();
        let limit = match self.limit {
            Some(0) => None,
            None if is_terminal && self.global.output == Output::Table => Some(ROWS),
            limit => limit,
        };
        let width = if is_terminal { output::width() } else { None };
        print(stream, Shown { output: self.global.output, limit, width }).await?;
        Ok(schema)
    }

    /// With values in place of the project's variables, and expressions in place of calls of its functions.
    fn rendered(&self, sql: &str) -> Result<(String, Option<Written>)> {
        check_question(QUERY, sql).map_err(Error::from)?;
        home(self.global)?.render_query(QUERY, sql)
    }

    async fn plan(&self, sql: &str) -> Result<Answer> {
        let lake = setup::lake(self.global, &self.settings).await?;
        let named = Named::of(&setup::state(&self.settings, lake.stores())?, sql)?;
        let bench = setup::workbench_of(project(self.global, &named)?, self.global, &self.settings).await?;
        let answer = ask(&bench, sql).await?;
        answer.warnings.iter().for_each(|warning| eprintln!("warning: {warning}"));
        Ok(answer)
    }

    async fn describe(&self, name: &str) -> Result<SchemaRef> {
        let rows = self.plan(&format!("select * from {name} limit 0")).await?.rows;
        let fields = rows.schema().fields().iter();
        let columns: Vec<shape::QueryColumn> = fields
            .map(|field| shape::QueryColumn { column: field.name().clone(), data_type: type_name(field.data_type()) })
            .collect();
        let rows_of: Vec<Vec<String>> =
            columns.iter().map(|column| vec![column.column.clone(), column.data_type.clone()]).collect();
        output::table(&["column", "type"], &rows_of, &columns, self.global.output)?;
        Ok(std::sync::Arc::new(rows.schema().as_arrow().clone()))
    }

    async fn tables(&self) -> Result<()> {
        let names = self.names().await?;
        let rows: Vec<Vec<String>> = names.iter().map(|(name, kind)| vec![name.clone(), (*kind).to_owned()]).collect();
        let values: Vec<_> = names.into_iter().map(|(table, kind)| shape::Queryable { table, kind }).collect();
        output::table(&["table", "kind"], &rows, &values, self.global.output)
    }

    /// Whatever a query can name.
    async fn names(&self) -> Result<Vec<(String, &'static str)>> {
        let lake = setup::lake(self.global, &self.settings).await?;
        let mut names: Vec<(String, &str)> =
            lake.tables().await?.into_iter().map(|name| (name.to_string(), "table")).collect();
        // A lake can be looked at where its project is not, or is not in order.
        if let Ok(Parsed { project, .. }) = home(self.global)?.parsed() {
            names.extend(project.sources.files.keys().map(|name| (format!("raw.{name}"), "source of files")));
            names.extend(project.sources.tables.keys().map(|name| (format!("external.{name}"), "table of others")));
        }
        Ok(names)
    }

    /// Answers statements of a person until the end.
    async fn converse(&self) -> Result<()> {
        let names = self.names().await?.into_iter().map(|(name, _)| name).collect();
        let mut prompt = Prompt::new(names)?;
        watch_for_signals();
        eprintln!("pulse {}: a statement ends with `;`, `help` shows more", env!("CARGO_PKG_VERSION"));
        loop {
            match tokio::task::block_in_place(|| prompt.next())? {
                Typed::Nothing => {}
                Typed::Help => eprintln!("{HELP}"),
                Typed::End => return Ok(()),
                Typed::Statements(text) => match self.answer_typed(&text, &mut prompt).await {
                    Next::Ask => {}
                    Next::End => return Ok(()),
                },
            }
        }
    }

    /// Answers the statements of a line or of a paste, one after another, until one has a mistake or is stopped.
    async fn answer_typed(&self, text: &str, prompt: &mut Prompt) -> Next {
        let statements = split(QUERY, text).unwrap_or_else(|_| vec![text.to_owned()]);
        for sql in statements {
            match understood(&sql) {
                Typed::Nothing => continue,
                Typed::Help => {
                    eprintln!("{HELP}");
                    continue;
                }
                Typed::End => return Next::End,
                Typed::Statements(_) => {}
            }
            let answered = tokio::select! {
                answered = self.answer(&sql) => answered,
                () = interrupted() => {
                    eprintln!("the query was stopped");
                    return Next::Ask;
                }
            };
            match answered {
                Ok(Some(schema)) => prompt.learn(schema.fields().iter().map(|field| field.name().clone())),
                Ok(None) => {}
                Err(error) => {
                    output::error(&error);
                    return Next::Ask;
                }
            }
        }
        Next::Ask
    }
}

/// What comes after what a person typed.
enum Next {
    Ask,
    End,
}

/// The project, where the query reads its sources: tables of the lake need none.
fn project(global: &Global, named: &Named) -> Result<Project> {
    if named.files().chain(named.external()).next().is_some() {
        let parsed = home(global)?.parsed()?;
        let is_known = |name: &str| parsed.project.sources.files.contains_key(name);
        let is_table = |name: &str| parsed.project.sources.tables.contains_key(name);
        return match parsed.sources {
            // It may be one of those that have a mistake.
            Some(mistakes) if !named.files().all(is_known) || !named.external().all(is_table) => Err(mistakes),
            _ => Ok(parsed.project),
        };
    }
    let nothing = ("project.toml".to_owned(), "name = \"query\"\n[defaults]\nowner = \"nobody\"\n".to_owned());
    Project::parse(&ProjectFiles::from([nothing]))
}
