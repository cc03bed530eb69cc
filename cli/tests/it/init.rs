//! Projects that `pulse init` makes run as they are.

use std::path::Path;
use std::process::{Command, Output};

fn pulse(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pulse"));
    for name in ["PULSE_PROJECT", "PULSE_LAKE", "PULSE_VAR", "PULSE_PROFILE", "PULSE_CONFIG"] {
        command.env_remove(name);
    }
    command.current_dir(folder).args(arguments).output().unwrap()
}

#[track_caller]
fn ok(folder: &Path, arguments: &[&str]) -> String {
    let output = pulse(folder, arguments);
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn query(folder: &Path, sql: &str) -> String {
    ok(folder, &["--output", "csv", "query", sql])
}

#[test]
fn the_example_runs_and_its_test_passes() {
    let scene = tempfile::tempdir().unwrap();
    ok(scene.path(), &["init", "shop", "--example"]);
    let shop = scene.path().join("shop");
    ok(&shop, &["check"]);
    ok(&shop, &["test"]);
    ok(&shop, &["run", "--all"]);
    let revenue = "select day, item, pieces, revenue from gold.revenue order by day, item";
    let first = "day,item,pieces,revenue\n2024-03-01,coffee,1,4.20\n2024-03-01,tea,3,10.80\n";
    assert_eq!(query(&shop, revenue), format!("{first}2024-03-02,cake,3,15.00\n2024-03-02,coffee,2,8.40\n"));
    // The profile counts sales of two pieces and more.
    ok(&shop, &["--profile", "prod", "run", "--all"]);
    let large =
        ok(&shop, &["--profile", "prod", "--output", "csv", "query", "select sum(pieces) as n from gold.revenue"]);
    assert_eq!(large, "n\n7\n");
    let again = pulse(scene.path(), &["init", "shop"]);
    assert_eq!(again.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&again.stderr).contains("project.toml is there"), "{again:?}");
}

/// Lines of a proposal without those of types, which have no blanks to break at.
#[track_caller]
fn infer(folder: &Path, file: &str, text: &str) -> (String, String) {
    std::fs::write(folder.join(file), text).unwrap();
    let output = pulse(folder, &["source", "infer", file]);
    let (out, err) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert!(output.status.success(), "{err}");
    (out, err)
}

#[test]
fn what_a_proposal_does_not_read_is_said() {
    let scene = tempfile::tempdir().unwrap();
    let infer = |file: &str, text: &str| infer(scene.path(), file, text);
    let (out, err) = infer("two.json", "{\"a\":[{\"id\":1}],\"b\":[{\"id\":2},{\"id\":3}]}");
    assert!(
        out.contains("    # not read: 1 record at `/a`") && err.contains("not read: 1 record at `/a`"),
        "{out}{err}"
    );
    let (out, err) = infer("keyed.json", "{\"A\":{\"px\":1.5},\"B\":{\"px\":2.5},\"C\":{\"px\":3}}");
    assert!(out.contains("key = \"key\"") && err.contains("3 rows kept, 0 rejected"), "{out}{err}");
    let (out, err) = infer("mixed.json", "[{\"id\":1},{\"id\":2},7]");
    assert!(out.contains("records = \"\"") && err.contains("not read: 1 item of the list"), "{out}{err}");
    assert!(err.contains("2 rows kept, 1 rejected"), "{err}");
    let (out, err) = infer("head.jsonl", "{\"made\":\"by us\"}\n{\"id\":1}\n{\"id\":2}\n");
    assert!(out.contains("1 of 3 records do not have it") && err.contains("3 rows kept, 0 rejected"), "{out}{err}");
}

#[test]
fn comments_of_a_proposal_fit_a_screen() {
    let scene = tempfile::tempdir().unwrap();
    let long = "word ".repeat(40);
    let text = format!("amount_of_the_whole_order,note\n1.25,{long}\n2.5,{long}\n");
    let (out, _) = infer(scene.path(), "wide.csv", &text);
    assert!(out.lines().all(|line| line.chars().count() <= 100), "{out}");
    assert!(out.contains("decimal(18,2) keeps amounts"), "{out}");
}

#[test]
fn a_project_from_a_file_runs() {
    let scene = tempfile::tempdir().unwrap();
    let files = [
        (
            "orders.csv",
            "Order Id,city,limit,at\n1,Berlin,3.5,2024-01-01\n2,Paris,4,2024-01-02\n3,Paris,7.25,2024-01-03\n",
        ),
        ("events.json", "[{\"kind\":\"a\",\"n\":1},{\"kind\":\"b\",\"n\":2},{\"kind\":\"b\",\"n\":3}]"),
        ("lines.jsonl", "{\"kind\":\"a\",\"n\":1}\n{\"kind\":\"b\",\"n\":2}\n{\"kind\":\"b\",\"n\":3}\n"),
        ("numbers.csv", "x,y\n1,2\n3,4\n5,6\n"),
    ];
    for (file, text) in files {
        std::fs::write(scene.path().join(file), text).unwrap();
        let name = file.split('.').next().unwrap();
        ok(scene.path(), &["init", name, "--from", file]);
        let folder = scene.path().join(name);
        ok(&folder, &["run", "--all"]);
        let records = query(&folder, &format!("select sum(records) as n from gold.{name}_summary"));
        assert_eq!(records, "n\n3\n", "{file}");
    }
    let unknown = pulse(scene.path(), &["init", "none", "--from", "none.csv"]);
    assert_eq!(unknown.status.code(), Some(2));
    assert!(!scene.path().join("none").exists());
}

#[test]
fn a_proposed_source_lies_where_a_variable_leads() {
    let scene = tempfile::tempdir().unwrap();
    let top = scene.path().canonicalize().unwrap();
    for file in ["data/orders.csv", "data/more/items.csv", "away/prices.csv"] {
        let file = top.join(file);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, "a,b\n1,x\n2,y\n").unwrap();
    }
    ok(&top, &["init", "shop", "--from", "data/orders.csv"]);
    let shop = top.join("shop");
    let infer = |file: &str| {
        let output = pulse(&shop, &["source", "infer", file]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap())
    };
    for (file, root) in [("../data/orders.csv", "$raw"), ("../data/more/items.csv", "$raw/more")] {
        let (text, said) = infer(file);
        assert!(text.contains(&format!("root = \"{root}\"\n")), "{text}");
        assert!(!text.contains(top.to_str().unwrap()) && said.contains("2 rows kept, 0 rejected"), "{text}{said}");
    }
    // Where none leads there, one is proposed; both parts together are a project that is in order.
    let (text, said) = infer("../away/prices.csv");
    let line = "raw2 = { type = \"path\", default = \"../away\" }";
    assert!(text.contains("root = \"$raw2\"\n") && said.contains(line), "{text}{said}");
    let append = |file: &str, more: &str| {
        let before = std::fs::read_to_string(shop.join(file)).unwrap();
        std::fs::write(shop.join(file), format!("{before}\n{more}\n")).unwrap();
    };
    append("sources.toml", &text);
    append("project.toml", line);
    assert_eq!(query(&shop, "select sum(a) as n from raw.prices where _reason is null"), "n\n3\n");
    // Outside of a project there is nothing that it could be relative to.
    assert!(ok(&top, &["source", "infer", "away/prices.csv"]).contains(&format!("root = \"{}/away\"", top.display())));
}
