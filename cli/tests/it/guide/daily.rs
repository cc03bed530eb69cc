//! docs/guide/operate-daily.md as it stands there. Minutes pass at once, and a webhook of the tests stands for the receiver.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

use super::{blocks, read};
use crate::alerts::Webhook;
use crate::support::{copy_folder, workspace};

struct Day {
    folder: tempfile::TempDir,
    webhook: Webhook,
}

impl Day {
    fn shell(&self, line: &str) -> Output {
        let binary = Path::new(env!("CARGO_BIN_EXE_pulse"));
        let path = format!("{}:{}", binary.parent().unwrap().display(), std::env::var("PATH").unwrap());
        let mut command = Command::new("bash");
        for name in ["PULSE_PROJECT", "PULSE_LAKE", "PULSE_VAR", "PULSE_PROFILE", "PULSE_CONFIG", "PULSE_ON"] {
            command.env_remove(name);
        }
        command.env("PATH", path).env("PULSE_ALERT_TEAM", &self.webhook.url).current_dir(self.folder.path());
        command.args(["-ec", line]).output().unwrap()
    }

    /// Standard output of lines that succeed.
    fn shells(&self, lines: &str) -> String {
        let output = self.shell(lines);
        assert!(output.status.success(), "{lines}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// What the look at the next minute says, and its exit code.
    fn minute(&self) -> (i32, String) {
        let ledger = self.folder.path().join("lake/_pulse");
        let path = ledger.join("schedules/often.json");
        let mut known: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        known["since"] = (chrono::Utc::now().timestamp_millis() - 120_000).into();
        known["last"] = Value::Null;
        std::fs::write(path, known.to_string()).unwrap();
        // The minute may be that of the last look, whose runs would be found.
        drop(std::fs::remove_dir_all(ledger.join("runs")));
        let output = self.shell("pulse run-due");
        (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
    }
}

#[test]
fn a_day_with_a_scheduled_project() {
    let blocks = blocks(&read("docs/guide/operate-daily.md"));
    let of = |wanted: &str| -> Vec<&str> {
        blocks.iter().filter(|(language, _)| language == wanted).map(|(_, text)| text.as_str()).collect()
    };
    let day = Day { folder: tempfile::tempdir().unwrap(), webhook: Webhook::new() };
    for folder in ["jobs", "sample"] {
        copy_folder(&workspace().join(folder), &day.folder.path().join(folder));
    }
    let toml = day.folder.path().join("jobs/project.toml");
    let project = std::fs::read_to_string(&toml).unwrap();
    std::fs::write(&toml, format!("{project}\n{}", of("toml")[0])).unwrap();
    let [_copy, start, breaks, cause, repair, correct] = &of("sh")[..] else { panic!("other blocks") };
    let (checks, look) = start.trim_end().rsplit_once('\n').unwrap();
    assert_eq!(look, "pulse run-due --every 5");
    day.shells(checks.split_once('\n').unwrap().1);
    assert_eq!(day.webhook.texts(), ["market-data: this is a test of the alert `team`"]);
    day.shell("pulse run-due");
    let (code, words) = day.minute();
    assert!(code == 0 && words.contains("10 runs in "), "{words}");
    assert!(day.minute().1.contains("often: nothing has changed"));
    day.shells(breaks);
    let (code, words) = day.minute();
    assert_eq!(code, 2, "{words}");
    let texts = day.webhook.texts();
    assert!(texts.len() == 1 && texts[0].contains("did you mean `volume`?"), "{texts:?}");
    day.minute();
    assert_eq!(day.webhook.texts(), [""; 0], "once");
    let answers: Vec<Output> = cause.lines().map(|line| day.shell(line)).collect();
    let codes: Vec<Option<i32>> = answers.iter().map(|answer| answer.status.code()).collect();
    assert_eq!(codes, [Some(0), Some(0), Some(2)]);
    assert!(String::from_utf8_lossy(&answers[0].stdout).contains("silver.bars_1d"));
    day.shells(repair);
    let (code, words) = day.minute();
    assert_eq!(code, 0, "{words}");
    assert!(day.webhook.texts()[0].contains("silver.bars_1d is in order again"));
    let before = day.shells(correct);
    assert!(before.contains("82.0604") && before.contains("0 of 5 files are new, 1 changed"), "{before}");
    assert_eq!(day.minute().0, 0);
    let after = day.shells(correct.lines().next().unwrap());
    assert!(after.contains("81.9") && !after.contains("82.0604"), "{after}");
}
