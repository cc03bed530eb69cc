use super::*;
use crate::project::Project;

const PROJECT: &str = r#"name = "market"
lake = "../lake"

[variables]
raw = { type = "path", default = "../sample" }
min_volume = { type = "bigint", default = 100 }
venue = { type = "string" }
limit = { type = "double", default = 0.5 }

[[expect_group.volume]]
name = "volume is at least the least one"
check = "volume >= $min_volume and at_least(volume)"
on_fail = "quarantine"

[settings]
slots = 3
"#;

fn files() -> ProjectFiles {
    [
        ("project.toml", PROJECT),
        ("profiles/prod.toml", "lake = \"s3://acme/lake\"\n[variables]\nvenue = \"O'X\"\nraw = \"s3://acme/raw\"\n[settings]\nslots = 7\n"),
        ("functions.sql", "create function at_least(v bigint) returns boolean return v >= $min_volume"),
        ("sources.toml", "[files.bars]\nroot = \"$raw\"\ncolumns = [{ name = \"volume\", type = \"bigint\" }]\n[files.bars.feed.a]\npath = \"{x}.csv\"\nformat = { csv = {} }\n"),
        ("bronze/bars/query.sql", "select volume, $venue as venue from raw.bars\nwhere volume > $min_volume -- $venue"),
        (
            "bronze/bars/job.toml",
            "owner = \"desk of $venue\"\ngrain = [\"volume\"]\nmax_rejected = \"$limit\"\nexpect_groups = [\"volume\"]\n[sink.append]\n\
             [[expect]]\nname = \"$5\"\ncheck = '''venue = $venue'''\non_fail = \"drop\"\n",
        ),
    ]
    .map(|(path, text)| (path.to_owned(), text.to_owned()))
    .into()
}

fn environment(files: &ProjectFiles, profile: Option<&str>, given: &[(&str, &str)]) -> Result<Environment> {
    let given = given.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Environment::new(files, profile, &given, NaiveDate::from_ymd_opt(2026, 1, 31).unwrap())
}

fn rendered(profile: Option<&str>, given: &[(&str, &str)]) -> Result<ProjectFiles> {
    strict(environment(&files(), profile, given)?.render(&files()))
}

fn strict(rendered: Rendered) -> Result<ProjectFiles> {
    match rendered.wrong.is_empty() {
        true => Ok(rendered.files),
        false => Err(Error::from_diagnostics(rendered.wrong.into_values().flatten().collect())),
    }
}

#[test]
fn values_stand_in_queries_and_manifests() {
    let rendered = rendered(Some("prod"), &[("min_volume", "5")]).unwrap();
    assert_eq!(
        rendered["bronze/bars/query.sql"],
        "select volume, 'O''X' as venue from raw.bars\nwhere volume > cast(5 as bigint) -- $venue"
    );
    let project = Project::parse(&rendered).unwrap_or_else(|error| panic!("{}", error.render()));
    let manifest = &project.jobs.values().next().unwrap().manifest;
    assert_eq!((manifest.owner.as_str(), manifest.max_rejected), ("desk of O'X", Some(0.5)));
    let checks: Vec<(&str, &str)> =
        manifest.expect.iter().map(|expect| (expect.name.as_str(), expect.check.as_deref().unwrap())).collect();
    assert_eq!(
        checks,
        [
            ("$5", "venue = 'O''X'"),
            (
                "volume is at least the least one",
                "volume >= cast(5 as bigint) and cast((cast((volume) as BIGINT) >= cast(5 as bigint)) as BOOLEAN)"
            )
        ]
    );
}

#[test]
fn a_stronger_place_wins() {
    let files = files();
    let place = |profile, given: &[(&str, &str)]| {
        let environment = environment(&files, profile, given).unwrap();
        (environment.lake.clone().unwrap(), environment.values()["raw"].clone(), environment.settings)
    };
    let of_project = |text: &str| Place { text: text.to_owned(), is_of_project: true };
    assert_eq!(place(None, &[]), (of_project("../lake"), of_project("../sample"), vec!["project.toml".to_owned()]));
    assert_eq!(
        place(Some("prod"), &[("raw", "here")]),
        (
            of_project("s3://acme/lake"),
            Place { text: "here".to_owned(), is_of_project: false },
            vec!["project.toml".to_owned(), "profiles/prod.toml".to_owned()]
        )
    );
}

#[test]
fn an_edited_value_is_an_edited_job() {
    let meaning = |given: &[(&str, &str)]| {
        let project = Project::parse(&rendered(Some("prod"), given).unwrap()).unwrap();
        let job = project.jobs.values().next().unwrap().clone();
        crate::meaning::Meaning::of(&project, &job).unwrap()
    };
    assert_eq!(meaning(&[]), meaning(&[("min_volume", "100"), ("raw", "elsewhere")]));
    assert_ne!(meaning(&[]), meaning(&[("min_volume", "101")]));
}

#[test]
fn the_date_of_a_run_is_a_literal() {
    let mut files = files();
    files.insert("bronze/bars/query.sql".into(), "select volume, $run_date as day from raw.bars".into());
    let query = |given: &[(&str, &str)]| {
        strict(environment(&files, Some("prod"), given).unwrap().render(&files)).unwrap()["bronze/bars/query.sql"]
            .clone()
    };
    assert_eq!(query(&[]), "select volume, date '2026-01-31' as day from raw.bars");
    assert_eq!(query(&[("run_date", "2025-12-24")]), "select volume, date '2025-12-24' as day from raw.bars");
}

#[test]
fn what_is_wrong_is_named() {
    let contains = |error: Error, parts: &[&str]| {
        let text = error.to_string();
        parts.iter().for_each(|part| assert!(text.contains(part), "{text}"));
    };
    contains(
        rendered(None, &[]).unwrap_err(),
        &[
            "bronze/bars/query.sql:1:16: the variable `venue` has no value",
            "bronze/bars/job.toml:8:9",
            "--var venue=..",
            "--profile",
        ],
    );
    contains(
        rendered(Some("prdo"), &[]).unwrap_err(),
        &["no profile `prdo`", "profiles/prdo.toml", "did you mean `prod`?"],
    );
    contains(
        rendered(Some("prod"), &[("min_volume", "many")]).unwrap_err(),
        &["--var min_volume=many: `many` is no bigint"],
    );
    // Where it stands, also where nothing uses it.
    let mut wrong = files();
    wrong.insert("profiles/prod.toml".into(), "[variables]\nvenue = \"x\"\nmin_volume = \"many\"\n".into());
    contains(
        environment(&wrong, Some("prod"), &[]).unwrap_err(),
        &["profiles/prod.toml:3:14: the variable `min_volume`: `many` is no bigint"],
    );
    let declared = "name = \"x\"\n[variables]\nday = { type = \"date\", default = \"noon\" }\n";
    wrong.insert("project.toml".into(), declared.into());
    contains(
        environment(&wrong, None, &[]).unwrap_err(),
        &["project.toml:3:34: the variable `day`: `noon` is no date"],
    );
    let names = |given: &[(&str, &str)]| {
        environment(&files(), None, given).unwrap().check_names(&BTreeSet::from(["raw".to_owned()]))
    };
    names(&[("run_date", "2026-01-01"), ("raw", "x")]).unwrap();
    contains(names(&[("vanue", "x")]).unwrap_err(), &["no variable `vanue`", "did you mean `venue`?"]);
    let mut reserved = files();
    reserved.insert("project.toml".into(), "name = \"x\"\n[variables]\nrun_date = { type = \"date\" }\n".into());
    contains(environment(&reserved, None, &[]).unwrap_err(), &["project.toml:3:1", "`run_date` has its own meaning"]);
    let mut misspelt = files();
    misspelt.insert("bronze/bars/query.sql".into(), "select $vanue as a from raw.bars".into());
    contains(
        strict(environment(&misspelt, Some("prod"), &[]).unwrap().render(&misspelt)).unwrap_err(),
        &["bronze/bars/query.sql:1:8: there is no variable `$vanue`: did you mean `$venue`?"],
    );
    let asked =
        |text: &str| environment(&files(), Some("prod"), &[("min_volume", "5")]).unwrap().render_query("query", text);
    assert_eq!(asked("select $min_volume").unwrap().0, "select cast(5 as bigint)");
    contains(asked("select\n $vanue").unwrap_err(), &["query:2:2", "did you mean `$venue`?"]);
    let mut path = files();
    path.insert("bronze/bars/query.sql".into(), "select $raw as a from raw.bars".into());
    contains(
        strict(environment(&path, Some("prod"), &[]).unwrap().render(&path)).unwrap_err(),
        &["bronze/bars/query.sql:1:8: `$raw` is a path", "sources.toml"],
    );
}

#[test]
fn all_variables_of_a_manifest_without_a_value_are_named() {
    let mut files = files();
    let project = "name = \"x\"\n[variables]\na = { type = \"bigint\" }\nb = { type = \"string\" }\n";
    files.insert("project.toml".into(), project.into());
    let job = "owner = \"$b\"\ntarget_file_mib = \"$a\"\ngrain = [\"x\"]\n[sink.append]\n[[expect]]\n\
               name = \"n\"\non_fail = \"warn\"\ncheck = \"x > $a\"\n";
    files.insert("bronze/bars/job.toml".into(), job.into());
    files.insert("bronze/bars/query.sql".into(), "select 1 as x".into());
    let wrong = environment(&files, None, &[]).unwrap().render(&files).wrong;
    let lines: Vec<usize> = wrong["bronze/bars/job.toml"].iter().map(|problem| problem.line).collect();
    assert_eq!(lines, [1, 2, 8]);
    // A value that is one variable, and a misspelt one, is no text.
    let misspelt = "owner = \"$runn_date\"\ndescription = \"costs $runn_date or $5\"\ngrain = [\"x\"]\n[sink.append]\n";
    files.insert("bronze/bars/job.toml".into(), misspelt.into());
    let wrong = environment(&files, None, &[]).unwrap().render(&files).wrong;
    let told: Vec<String> = wrong["bronze/bars/job.toml"].iter().map(ToString::to_string).collect();
    assert_eq!(told, ["bronze/bars/job.toml:1:9: there is no variable `$runn_date`: did you mean `$run_date`?"]);
}

#[test]
fn a_mistake_behind_a_value_is_shown_in_the_file_as_it_is_written() {
    let mut files = files();
    files.insert("bronze/bars/query.sql".into(), "select $min_volume as v, 1 a b from raw.bars".into());
    let rendered = environment(&files, Some("prod"), &[]).unwrap().render(&files);
    let found = Project::parse(&rendered.files).unwrap_err();
    let column = |error: &Error| error.diagnostics().first().map(|one| (one.line, one.column));
    assert_ne!(column(&found), Some((1, 30)));
    let placed = rendered.as_written(found);
    assert_eq!(column(&placed), Some((1, 30)), "{}", placed.render());
    assert!(placed.render().contains("select $min_volume as v, 1 a b"), "{}", placed.render());
}

#[test]
fn files_of_a_job_at_another_depth_and_unknown_groups_are_reported() {
    let mut files = rendered(Some("prod"), &[]).unwrap();
    files.insert("bars/query.sql".into(), "select 1 as a".into());
    files.insert("gold/eu/bars/job.toml".into(), "grain = []".into());
    let job = files["bronze/bars/job.toml"].replace("[\"volume\"]\n[sink", "[\"volmue\"]\n[sink");
    files.insert("bronze/bars/job.toml".into(), job);
    let error = Project::parse(&files).unwrap_err().to_string();
    for part in ["bars/query.sql: a job does not lie here", "gold/eu/bars/job.toml: a job", "did you mean `volume`?"] {
        assert!(error.contains(part), "{error}");
    }
}
