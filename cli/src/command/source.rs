//! `pulse source`

use std::process::ExitCode;

use pulse_core::Result;
use pulse_engine::job::{Sample, SampleSize, sample};

use crate::args::{Global, SourceAction};
use crate::{output, setup};

pub(crate) async fn source(global: &Global, action: SourceAction) -> Result<ExitCode> {
    match action {
        SourceAction::Preview { name, rows, files, rejects } => {
            let settings = setup::settings(global)?;
            let bench = setup::workbench(global, &settings).await?;
            let sample = sample(&bench, &name, SampleSize { files, rows }).await?;
            if rejects {
                show_rejects(global, &sample)?
            } else {
                output::batches(&sample.rows, global.output)?
            }
            eprint!("{}", told_of(&name, &sample));
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn show_rejects(global: &Global, sample: &Sample) -> Result<()> {
    let rows: Vec<Vec<String>> = sample
        .examples
        .iter()
        .map(|row| vec![row.file.clone(), row.line.to_string(), row.reason.clone(), row.raw.clone()])
        .collect();
    let values: Vec<_> = sample
        .examples
        .iter()
        .map(|row| serde_json::json!({"file": row.file, "line": row.line, "reason": row.reason, "raw": row.raw}))
        .collect();
    output::table(&["file", "line", "reason", "raw"], &rows, &values, global.output)
}

/// The last lines on stderr: what was read, and what was rejected.
fn told_of(name: &str, sample: &Sample) -> String {
    let rejected: u64 = sample.rejected.iter().map(|one| one.rows).sum();
    let name = name.strip_prefix("raw.").unwrap_or(name);
    let mut text = format!(
        "\nraw.{name}: {} of {} files read, {} rows kept, {} rejected\n",
        sample.files_read,
        sample.files,
        output::count(sample.kept),
        output::count(rejected)
    );
    for one in &sample.rejected {
        text.push_str(&format!("  {} rejected: {}\n", output::count(one.rows), one.reason));
    }
    for warning in &sample.warnings {
        text.push_str(&format!("warning: {warning}\n"));
    }
    text
}
