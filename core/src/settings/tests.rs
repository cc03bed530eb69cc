use super::*;

fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn parse(config: &str, environment: &[(&str, &str)], command_line: &[(&str, &str)]) -> Result<Settings> {
    Settings::parse(&SettingsLayers {
        tables: &[],
        config: Some(("pulse.toml", config)),
        other_keys: &["lake"],
        environment: Some(&map(environment)),
        command_line: Some(&map(command_line)),
    })
}

fn wrong(config: &str, environment: &[(&str, &str)], command_line: &[(&str, &str)]) -> String {
    parse(config, environment, command_line).unwrap_err().render()
}

#[test]
fn every_field_is_one_setting_of_the_table() {
    let fields = serde_json::to_value(Settings::default()).unwrap();
    let fields: Vec<&String> = fields.as_object().unwrap().keys().collect();
    let mut keys: Vec<&str> = SETTINGS.iter().map(|setting| setting.key).collect();
    keys.sort_unstable();
    assert_eq!(fields, keys);
}

#[test]
fn every_setting_writes_the_field_of_its_name_and_no_other() {
    let defaults = serde_json::to_value(Settings::default()).unwrap();
    for setting in SETTINGS {
        let mut settings = Settings::default();
        let expected: serde_json::Value = match setting.value {
            Value::Number { field, .. } => {
                *field(&mut settings) = u64::MAX;
                u64::MAX.into()
            }
            Value::Port { field, .. } => {
                *field(&mut settings) = u16::MAX;
                u16::MAX.into()
            }
            Value::Text { field, .. } | Value::Choice { field, .. } => {
                "set".clone_into(field(&mut settings));
                "set".into()
            }
        };
        let mut changed = serde_json::to_value(&settings).unwrap();
        assert_eq!(changed[setting.key], expected);
        changed[setting.key] = defaults[setting.key].clone();
        assert_eq!(changed, defaults, "{}", setting.key);
    }
}

#[test]
fn defaults_are_allowed_and_agree_with_each_other() {
    let none = SettingsLayers::default();
    assert_eq!(Settings::parse(&none).unwrap(), Settings::default());
    for setting in SETTINGS {
        if let Value::Number { default, least, most, .. } = setting.value {
            assert!((least..=most).contains(&default), "{}", setting.key);
        }
        assert!(setting.doc.ends_with('.'), "{}", setting.key);
    }
}

#[test]
fn the_command_line_wins_over_the_environment_and_that_over_the_file() {
    let settings = parse(
        "lake = \"s3://b\"\nslots = 0x2\nbatch_rows = 1_000\nwork_dir = \"/a\"\n",
        &[("PULSE_BATCH_ROWS", "2000"), ("PULSE_WORK_DIR", "/b"), ("PULSE_LAKE", "x"), ("PATH", "y")],
        &[("work_dir", "/c")],
    );
    let settings = settings.unwrap();
    assert_eq!((settings.slots, settings.batch_rows, settings.work_dir.as_str()), (2, 2000, "/c"));
    assert_eq!(settings.concurrent_runs, Settings::default().concurrent_runs);
}

#[test]
fn a_wrong_value_is_named_with_its_origin_and_its_range() {
    insta::assert_snapshot!(wrong("slots = 2\nbatch_rows = 0\nslot = 3\nwork_dir = 1\n", &[], &[]), @r"
    error: `batch_rows` cannot be 0
     --> pulse.toml:2:14
      |
    2 | batch_rows = 0
      |              ^
      |
      = help: use 1 to 1048576

    error: there is no setting `slot`
     --> pulse.toml:3:1
      |
    3 | slot = 3
      | ^^^^
      |
      = help: did you mean `slots`?

    error: `work_dir` cannot be 1
     --> pulse.toml:4:12
      |
    4 | work_dir = 1
      |            ^
      |
      = help: use a text
    ");
    insta::assert_snapshot!(wrong("concurrent_runs = -1\n[grpc_mib]\nx = 1", &[], &[]), @r"
    error: `concurrent_runs` cannot be -1
     --> pulse.toml:1:19
      |
    1 | concurrent_runs = -1
      |                   ^^
      |
      = help: use 1 to 1024

    error: `grpc_mib` cannot be [grpc_mib]
     --> pulse.toml:2:1
      |
    2 | [grpc_mib]
      | ^^^^^^^^^^
      |
      = help: use 4 to 2047
    ");
    insta::assert_snapshot!(wrong("", &[("PULSE_GRPC_MIB", "128 MiB")], &[("api_port", "70000"), ("nothing", "1")]), @r"
    error: `grpc_mib` cannot be `128 MiB` (from PULSE_GRPC_MIB): use 4 to 2047
    `api_port` cannot be `70000` (from --set api_port): use 0 to 65535
    there is no setting `nothing`: docs/reference/settings.md lists them
    ");
}

#[test]
fn values_that_contradict_each_other_are_refused() {
    insta::assert_snapshot!(wrong("heartbeat_s = 10\nrun_timeout_s = 90000\n", &[], &[]), @r"
    error: `executor_timeout_s` is 12 and `heartbeat_s` is 10: one late heartbeat would lose an executor; use at least 20
    `shuffle_ttl_s` is 86400 and `run_timeout_s` is 90000: a long run would lose its own files; use at least 90000
    ");
    insta::assert_snapshot!(
        wrong("api_port = 50050\n", &[], &[]),
        @"error: `scheduler_port` and `api_port` are both 50050: use two ports"
    );
    insta::assert_snapshot!(
        wrong("metrics_port = 50051\n", &[], &[]),
        @"error: `executor_port` and `metrics_port` are both 50051: use two ports"
    );
    // Any free port is another one each time.
    assert!(parse("api_port = 0\nscheduler_port = 0\n", &[], &[]).is_ok());
}

#[test]
fn the_reference_has_one_line_for_each_setting() {
    let page = reference_markdown();
    assert!(page.contains("| `batch_rows` | `PULSE_BATCH_ROWS` | `8192` | 1 to 1048576 | Rows that pass"));
    assert_eq!(page.lines().filter(|line| line.starts_with("| `")).count(), SETTINGS.len());
}

#[test]
fn a_word_that_is_none_of_the_choices_is_refused() {
    insta::assert_snapshot!(wrong("catalog = \"hive\"\n", &[], &[]), @r#"
    error: `catalog` cannot be "hive"
     --> pulse.toml:1:11
      |
    1 | catalog = "hive"
      |           ^^^^^^
      |
      = help: use local or glue
    "#);
    insta::assert_snapshot!(
        wrong("", &[("PULSE_SCALER", "yarn")], &[]),
        @"error: `scaler` cannot be `yarn` (from PULSE_SCALER): use none or emr"
    );
    insta::assert_snapshot!(wrong("scale_least_nodes = 20\n", &[("PULSE_SCALER", "emr")], &[]), @r#"
    error: `scaler` is `emr` and `cluster_id` is empty: set it, or `scaler = "none"`
    `scale_most_nodes` is 10 and `scale_least_nodes` is 20: use at least 20
    "#);
    assert_eq!(parse("catalog = \"glue\"\n", &[], &[]).unwrap().catalog, "glue");
}
