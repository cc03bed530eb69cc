//! `pulse reference`: pages of docs/reference, written from the code that they describe.

mod printed;

use std::path::Path;
use std::process::ExitCode;

use clap::CommandFactory as _;
use pulse_core::{Error, Result, schema, settings};
use serde_json::Value;

use crate::args::{Arguments, Reference};
use crate::output;

pub(crate) fn reference(page: Reference) -> Result<ExitCode> {
    match page {
        Reference::Cli => output::data(&command_line()),
        Reference::Settings => output::data(&settings::reference_markdown()),
        Reference::Metrics => output::data(&pulse_metrics::reference_markdown()),
        Reference::Manifest => output::data(&schema::reference_markdown()),
        Reference::Man { folder } => man(&folder)?,
        Reference::Schema => json(&schema::manifest_schema())?,
        Reference::Output => output::data(&printed::page()),
        Reference::OutputSchema => json(&printed::schemas())?,
    }
    Ok(ExitCode::SUCCESS)
}

/// `pulse.1`, `pulse-run.1` and so on.
fn man(folder: &Path) -> Result<()> {
    let command = Arguments::command().disable_help_subcommand(true);
    let written = std::fs::create_dir_all(folder).and_then(|()| clap_mangen::generate_to(command, folder));
    written.map_err(|e| Error::unavailable(format!("write man pages to {}", folder.display())).with_source(e))
}

fn json(schema: &Value) -> Result<()> {
    let text =
        serde_json::to_string_pretty(schema).map_err(|e| Error::internal("the schema is not JSON").with_source(e))?;
    output::line(&text);
    Ok(())
}

fn command_line() -> String {
    let mut page = String::from(
        "# Command line\n\nThis page is generated from `cli/src/args.rs`.\n\nEvery command ends with 0 when it is done, 2 when something must be \
         mended in what was typed or in a file of the project, 1 when a store, data or anything else stands in the way, and 130 \
         when it is interrupted. Other meanings stand below the commands that have them.\n",
    );
    let mut command = Arguments::command().term_width(100);
    command.build();
    describe(&mut command, &mut page);
    page
}

fn describe(command: &mut clap::Command, page: &mut String) {
    let name = command.get_bin_name().unwrap_or_else(|| command.get_name()).to_owned();
    let help = command.render_long_help().to_string();
    let help: Vec<&str> = help.lines().map(str::trim_end).collect();
    page.push_str(&format!("\n## {name}\n\n```\n{}\n```\n", help.join("\n").trim_end()));
    if let Some(codes) = exit_codes(&name) {
        page.push_str(&format!("\nExit codes: {codes}.\n"));
    }
    for inner in command.get_subcommands_mut().filter(|inner| !inner.is_hide_set() && inner.get_name() != "help") {
        describe(inner, page);
    }
}

/// Where they mean more than on every command.
fn exit_codes(command: &str) -> Option<&'static str> {
    Some(match command {
        "pulse run" | "pulse backfill" => {
            "0 all runs succeeded or had nothing to do, 1 a run failed, 2 a mistake in what was typed or in a job, 3 an expectation \
             failed, 130 interrupted or cancelled"
        }
        "pulse submit" => {
            "0 the jobs were handed over; with --wait as of `pulse run`; 2 a mistake in what was typed or in a job"
        }
        "pulse check" => {
            "0 every job is in order, 2 a job has a mistake; with several mistakes the code is that of the first"
        }
        "pulse plan" => "0 every job can run, 2 a job has a mistake",
        "pulse test" => "0 every fixture holds, 1 one does not, 2 a mistake in a job or a fixture",
        "pulse catalog check" => "0 nothing differs, 1 an entry differs",
        "pulse catalog sync" => "0 all is registered, 1 the catalog refused a table",
        "pulse table optimize" | "pulse table vacuum" => {
            "0 all tables were looked after; else that of the first table that was refused"
        }
        "pulse table drop" | "pulse table rename" => {
            "1 also while a run of the table's job goes on; 130 when the answer is no"
        }
        "pulse runs prune" => "130 when the answer is no",
        _ => return None,
    })
}
