//! Maps the failure of a job to an error with its remedy.

use pulse_core::{Error, ErrorKind};
use pulse_engine::wire::from_wire;

/// Ballista's text for a cancelled job.
const CANCELLED: &str = "Cancelled";
/// Ballista's texts for failures that another attempt may not meet. A table's name has no blanks or capitals.
const PASSING: [&str; 4] =
    ["FetchFailed", "Shuffle fetch partition error", "IO error", "Task failure due to Executor "];
/// Maximum length of foreign text in a message.
const TEXT_CHARS: usize = 400;

/// The error of a job that ended with `text` while `executors` were alive.
pub(super) fn failure(name: &str, text: &str, executors: usize) -> Error {
    if let Some(error) = from_wire(text) {
        return Error::new(error.kind(), format!("{name}: {}", error.message()));
    }
    if text == CANCELLED {
        return Error::cancelled(format!("{name}: cancelled"));
    }
    if executors == 0 {
        return no_executor(name);
    }
    let kind = match PASSING.iter().any(|words| text.contains(words)) {
        // Ballista tried again and again; another run may find other executors.
        true => ErrorKind::Unavailable,
        false => ErrorKind::Internal,
    };
    let first: String = text.lines().next().unwrap_or_default().chars().take(TEXT_CHARS).collect();
    Error::new(kind, format!("{name}: {first}"))
}

pub(super) fn no_executor(name: &str) -> Error {
    Error::unavailable(format!("{name}: no executor is registered: start one with `pulse serve executor`"))
}

#[cfg(test)]
mod tests {
    use pulse_engine::wire::to_wire;

    use super::*;

    #[test]
    fn the_task_s_own_error_comes_first() {
        let wire = to_wire(&Error::data("on an executor: file `a.csv` is cut off"));
        let text = format!("Job failed due to stage 3 failed: Task failed due to runtime execution error: {wire:?}");
        let error = failure("silver.bars", &text, 0);
        assert_eq!(error.kind(), ErrorKind::Data);
        assert_eq!(error.message(), "silver.bars: on an executor: file `a.csv` is cut off");
    }

    #[test]
    fn without_executors_the_remedy_is_to_start_one() {
        let error = failure("silver.bars", "Job failed: cluster is empty", 0);
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        assert!(error.message().contains("pulse serve executor"), "{}", error.message());
    }

    #[test]
    fn other_texts_are_ours_to_mend() {
        assert_eq!(failure("a.b", "a panic", 2).kind(), ErrorKind::Internal);
        assert_eq!(failure("a.b", "Cancelled", 2).kind(), ErrorKind::Cancelled);
        assert_eq!(failure("a.lost_orders", "no field lost in lost_orders", 2).kind(), ErrorKind::Internal);
        let lost = "Job failed due to stage 2 failed: Task failure due to Executor 4f1c lost";
        assert_eq!(failure("a.b", lost, 2).kind(), ErrorKind::Unavailable);
    }
}
