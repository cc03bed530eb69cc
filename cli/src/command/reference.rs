//! `pulse reference`: pages of docs/reference, written from the code that they describe.

use std::path::Path;
use std::process::ExitCode;

use clap::CommandFactory as _;
use pulse_core::{Error, Result, schema, settings};

use crate::args::{Arguments, Reference};
use crate::output;

pub(crate) fn reference(page: Reference) -> Result<ExitCode> {
    match page {
        Reference::Cli => output::data(&command_line()),
        Reference::Settings => output::data(&settings::reference_markdown()),
        Reference::Manifest => output::data(&schema::reference_markdown()),
        Reference::Schema => {
            let text = serde_json::to_string_pretty(&schema::manifest_schema())
                .map_err(|e| Error::internal("the schema is not JSON").with_source(e))?;
            output::line(&text);
        }
        Reference::Man { folder } => man(&folder)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// `pulse.1`, `pulse-run.1` and so on.
fn man(folder: &Path) -> Result<()> {
    let command = Arguments::command().disable_help_subcommand(true);
    let written = std::fs::create_dir_all(folder).and_then(|()| clap_mangen::generate_to(command, folder));
    written.map_err(|e| Error::unavailable(format!("write man pages to {}", folder.display())).with_source(e))
}

fn command_line() -> String {
    let mut page = String::from(
        "# Command line\n\nThis page is generated from `cli/src/args.rs`.\n\nExit codes: 0 done, 1 a run failed, 2 usage or \
         manifest, 3 an expectation failed, 130 interrupted.\n",
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
    for inner in command.get_subcommands_mut().filter(|inner| !inner.is_hide_set() && inner.get_name() != "help") {
        describe(inner, page);
    }
}
