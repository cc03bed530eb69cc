//! `pulse generate`

use std::process::ExitCode;

use pulse_core::Result;
use pulse_engine::store::folder_url;

use crate::args::{Bars, Generate};
use crate::{output, setup};
use pulse_generate::{Feed, GenerateOptions, Hours, write};

pub(crate) async fn generate(what: Generate) -> Result<ExitCode> {
    let Generate::Bars(bars) = what;
    let out = folder_url(&bars.out, &setup::here()?)?;
    let summary = write(&out, options(&bars)?, |_| ()).await?;
    eprintln!(
        "{} files, {} rows, {} written to {out}; defects.json counts what is wrong with them",
        output::count(summary.files as u64),
        output::count(summary.rows),
        output::size(summary.bytes)
    );
    Ok(ExitCode::SUCCESS)
}

fn options(bars: &Bars) -> Result<GenerateOptions> {
    let feeds = match bars.feeds.is_empty() {
        true => Feed::ALL.into_iter().collect(),
        false => bars.feeds.iter().map(|feed| feed.parse()).collect::<Result<_>>()?,
    };
    Ok(GenerateOptions {
        symbols: bars.symbols,
        sessions: bars.sessions,
        seed: bars.seed,
        defects: bars.defects,
        hours: if bars.extended { Hours::Extended } else { Hours::Regular },
        feeds,
    })
}
