use std::path::Path;

use async_trait::async_trait;
use pulse_core::decide::Asked;
use pulse_core::project::ProjectFiles;
use pulse_core::run::{RunError, RunId, RunRecord, RunState};
use pulse_engine::catalog::LocalCatalog;
use pulse_engine::execute::InProcess;
use pulse_engine::job::{JobOptions, Workbench};
use pulse_engine::landing::Databases;
use pulse_engine::session::{RuntimeOptions, runtime, session_config, session_state};
use pulse_engine::source::file::ReadOptions;
use pulse_engine::store::{Stores, folder_url};
use pulse_engine::table::CommitOptions;
use pulse_metrics::text::Scraped;
use url::Url;

use super::failures::failures;
use super::*;
use crate::api::On;
use crate::driver::Placement;
use crate::scaler::Load;

/// In this process.
struct Here {
    stores: Arc<Stores>,
}

#[async_trait]
impl Places for Here {
    async fn lake(&self, url: &str) -> Result<Lake> {
        Lake::open(folder_url(url, Path::new("/"))?, Arc::clone(&self.stores)).await
    }

    fn placement(&self, project: Project, lake: &Lake, _on: On) -> Result<Placement> {
        let options = RuntimeOptions { memory_bytes: 64 << 20, spill_dir: None, spill_limit_bytes: 1 << 20 };
        let config = session_config(datafusion::prelude::SessionConfig::new(), 1, 1024);
        Ok(Placement::Fixed(Box::new(Workbench {
            project: Arc::new(project),
            lake: lake.clone(),
            state: session_state(config, runtime(&options, &self.stores)?),
            execute: Arc::new(InProcess { slots: 1 }),
            options: JobOptions {
                target_partition_bytes: 1 << 20,
                read: ReadOptions::default(),
                commit: CommitOptions::default(),
                attempts: 1,
                optimize_files: 0,
            },
            catalog: Arc::new(LocalCatalog),
            databases: Databases::default(),
        })))
    }

    fn executors(&self) -> usize {
        0
    }

    async fn load(&self) -> Load {
        Load::default()
    }
}

struct Scene {
    lake: tempfile::TempDir,
    stores: Arc<Stores>,
}

impl Scene {
    fn new() -> Self {
        Self { lake: tempfile::tempdir().unwrap(), stores: Arc::new(Stores::default()) }
    }

    fn home(&self) -> Lake {
        Lake::new(Url::from_directory_path(self.lake.path()).unwrap(), Arc::clone(&self.stores))
    }

    fn api(&self, settings: Settings, token: Option<&str>) -> Arc<Api> {
        let token = token.map(|token| Token::new(token).unwrap());
        let places = Arc::new(Here { stores: Arc::clone(&self.stores) });
        Api::new(places, &self.home(), settings, token.as_ref()).unwrap()
    }

    fn ledger(&self) -> RunStore {
        RunStore::new(&self.home()).unwrap()
    }

    fn write(&self, path: &str, text: &str) {
        let file = self.lake.path().join("_pulse").join(path);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, text).unwrap();
    }

    fn request(&self, key: &str, query: &str) -> SubmitRequest {
        let files = ProjectFiles::from([
            ("project.toml".to_owned(), "name = \"test\"\n[defaults]\nowner = \"test\"\n".to_owned()),
            ("silver/one/job.toml".to_owned(), "grain = [\"a\"]\n[sink.overwrite]\n".to_owned()),
            ("silver/one/query.sql".to_owned(), query.to_owned()),
        ]);
        SubmitRequest {
            key: key.parse().unwrap(),
            files,
            variables: BTreeMap::new(),
            lake: Url::from_directory_path(self.lake.path()).unwrap().to_string(),
            jobs: Vec::new(),
            not_run: BTreeMap::default(),
            asked: Asked::default(),
            on: On::Local,
            queue: QueueName::default(),
        }
    }

    fn many(&self, key: &str, layer: &str, jobs: usize) -> SubmitRequest {
        let mut request = self.request(key, "select 1 as a");
        request.files.retain(|path, _| path == "project.toml");
        for number in 0..jobs {
            let manifest = "grain = [\"a\"]\n[sink.overwrite]\n".to_owned();
            request.files.insert(format!("{layer}/t{number}/job.toml"), manifest);
            request.files.insert(format!("{layer}/t{number}/query.sql"), format!("select {number} as a"));
        }
        request
    }

    /// Writes a submission as somebody without a scheduler may.
    async fn planted(&self, key: &str) -> TriggerId {
        let limits = Limits::of(&settings());
        self.ledger().submit(id(key), self.request(key, "select 1 as a"), limits).await.unwrap()
    }

    /// As another scheduler over the same lake takes it in.
    async fn accepted_elsewhere(&self, key: &str, layer: &str, queue: &str) -> TriggerId {
        let request = SubmitRequest { queue: queue.parse().unwrap(), ..self.many(key, layer, 1) };
        self.ledger().submit(id(key), request, Limits::of(&settings())).await.unwrap()
    }

    async fn exit(&self, trigger: &TriggerId) -> Option<u8> {
        for _ in 0..600 {
            if let Some(exit) = self.ledger().exit(trigger).await.unwrap() {
                return Some(exit);
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        None
    }
}

fn settings() -> Settings {
    Settings { run_attempts: 1, ..Settings::default() }
}

fn id(key: &str) -> TriggerId {
    TriggerId::new(Utc::now(), u32::try_from(key.len()).unwrap())
}

const TOKEN: &str = "sixteen-letters-and-more";

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_in_order_holds_up_nothing_else() {
    let scene = Scene::new();
    let api = scene.api(settings(), None);
    let [bad, large, good] = [id("a"), id("bb"), scene.planted("good").await];
    for trigger in [&bad, &large] {
        scene.write(&format!("open/{trigger}.00000000"), "");
    }
    scene.write(&format!("runs/{bad}/trigger.json"), "{\"format\":99}");
    let sparse = scene.lake.path().join(format!("_pulse/runs/{large}/trigger.json"));
    scene.write(&format!("runs/{large}/trigger.json"), "");
    std::fs::OpenOptions::new().write(true).open(&sparse).unwrap().set_len(3 << 30).unwrap();
    scene.write("lakes/0000", "nonsense://x");

    let error = scene.ledger().submission(&large).await.unwrap_err();
    assert!(error.to_string().contains("3221225472 bytes"), "{error}");
    api.take_up(&api.home).await.unwrap();
    assert_eq!(scene.exit(&good).await, Some(0));
    assert!(api.ledger_of(&good).await.unwrap().is_some());
    assert!(api.ledger_of(&id("ccc")).await.unwrap().is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_submission_without_a_seal_is_not_driven_where_there_is_a_token() {
    let scene = Scene::new();
    let planted = scene.planted("planted").await;
    let api = scene.api(settings(), Some(TOKEN));
    api.take_up(&api.home).await.unwrap();
    assert_eq!(scene.exit(&planted).await, Some(TriggerExit::RunFailed.code()));
    assert!(!scene.lake.path().join("silver").exists());

    // With it, or where seals are off, it is.
    let sealed = api.submit(scene.request("sealed", "select 1 as a")).await.unwrap();
    assert_eq!(scene.exit(&sealed).await, Some(0));
    let other = scene.planted("other").await;
    let off = scene.api(Settings { ledger_seal: "off".to_owned(), ..settings() }, Some(TOKEN));
    off.take_up(&off.home).await.unwrap();
    assert_eq!(scene.exit(&other).await, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trigger_whose_drivers_died_too_often_is_refused() {
    let scene = Scene::new();
    let [deadly, suspect] = [scene.planted("deadly").await, scene.planted("suspicious").await];
    let ledger = scene.ledger();
    for epoch in 7..=9 {
        ledger.begin_driving(&deadly, epoch).await.unwrap();
    }
    for epoch in 7..=8 {
        ledger.begin_driving(&suspect, epoch).await.unwrap();
    }
    let api = scene.api(Settings { driver_attempts: 3, ..settings() }, None);
    for _ in 0..600 {
        api.take_up(&ledger).await.unwrap();
        if ledger.open().await.unwrap().is_empty() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(scene.exit(&deadly).await, Some(TriggerExit::RunFailed.code()));
    assert_eq!(scene.exit(&suspect).await, Some(0));
    // A driver that came to its end is not among the dead.
    assert_eq!(ledger.deaths(&suspect).await.unwrap(), 2);
}

/// One look is enough: a suspect that has ended lets the next one begin. What died once is no suspect.
#[tokio::test(flavor = "multi_thread")]
async fn suspects_follow_each_other_without_a_pause() {
    let scene = Scene::new();
    let ledger = scene.ledger();
    let mut planted = Vec::new();
    for number in 1..=6 {
        let trigger = scene.planted(&"s".repeat(number)).await;
        for epoch in 7..=8 {
            ledger.begin_driving(&trigger, epoch).await.unwrap();
        }
        planted.push(trigger);
    }
    // Of another table: these run one after the other, and it runs beside them.
    let once = scene.accepted_elsewhere("died-once", "gold", "default").await;
    ledger.begin_driving(&once, 8).await.unwrap();
    let api = scene.api(settings(), None);
    api.take_up(&ledger).await.unwrap();
    for trigger in planted.iter().chain([&once]) {
        assert_eq!(scene.exit(trigger).await, Some(0), "{trigger}");
    }
}

/// A trigger that was cancelled while it waited, and whose scheduler ended before it came to it.
#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_trigger_ends_at_the_first_look_whatever_waits() {
    let scene = Scene::new();
    let cancelled = scene.planted("cancelled").await;
    scene.ledger().request_cancel(&cancelled).await.unwrap();
    let api = scene.api(Settings { driven_triggers: 1, ..settings() }, None);
    occupy(&api);
    api.take_up(&api.home).await.unwrap();
    assert_eq!(scene.exit(&cancelled).await, Some(TriggerExit::Cancelled.code()));
    assert!(!scene.lake.path().join("silver").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn more_triggers_than_are_driven_wait_and_none_is_lost() {
    let scene = Scene::new();
    let api = scene.api(Settings { driven_triggers: 2, scheduler_runs: 1, ..settings() }, None);
    let mut submitted = Vec::new();
    for number in 0..24 {
        let query = format!("select {number} as a");
        submitted.push(api.submit(scene.request(&format!("key-{number}"), &query)).await.unwrap());
        assert!(api.lock().queue.driven() <= 2);
    }
    // Looking for what nobody drives drives nothing twice.
    api.take_up(&api.home).await.unwrap();
    for trigger in &submitted {
        assert_eq!(scene.exit(trigger).await, Some(0), "{trigger}");
        assert!(api.lock().queue.driven() <= 2);
        let records = scene.ledger().records(trigger).await.unwrap();
        assert_eq!(records.iter().map(|record| record.attempt).collect::<Vec<_>>(), [1], "{trigger}");
    }
    let commits = std::fs::read_dir(scene.lake.path().join("silver/one/_delta_log")).unwrap();
    let commits = commits.filter(|entry| entry.as_ref().unwrap().path().extension().is_some_and(|kind| kind == "json"));
    assert_eq!(commits.count(), submitted.len());
}

/// Takes the place of a trigger, as one that is driven.
fn occupy(api: &Api) {
    let mut known = api.lock();
    known.queue.wait(&QueueName::default(), id("busy"), api.home.clone());
    assert!(known.queue.next().is_some() && known.queue.started(&id("busy")));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_queue_of_a_submission_decides_when_it_is_driven() {
    let scene = Scene::new();
    let queues = "urgent priority=1; gone".to_owned();
    let api = scene.api(Settings { driven_triggers: 1, queues, ..settings() }, None);
    occupy(&api);
    let submit = async |key: &str, layer: &str, queue: &str| {
        let request = SubmitRequest { queue: queue.parse().unwrap(), ..scene.many(key, layer, 1) };
        api.submit(request).await
    };
    let error = submit("none", "silver", "elt").await.unwrap_err();
    assert_eq!(
        (error.kind(), error.message().contains("has default, gone, urgent")),
        (ErrorKind::Invalid, true),
        "{error}"
    );
    let first = submit("first", "silver", "default").await.unwrap();
    let urgent = submit("urgent", "gold", "urgent").await.unwrap();
    let shown = api.queues();
    let of = |name: &str| shown.queues.iter().find(|queue| queue.name.to_string() == name).unwrap();
    assert_eq!((of("default").triggers, of("default").waiting, of("urgent").waiting), (1, 1, 1));
    assert_eq!(of("urgent").oldest.as_ref(), Some(&urgent));
    // Nobody drives them here: another scheduler, without the queue `gone`, finds them in the ledger.
    let [third, lost] = [
        scene.accepted_elsewhere("third", "platinum", "urgent").await,
        scene.accepted_elsewhere("lost", "lead", "gone").await,
    ];
    let other =
        Settings { driven_triggers: 1, scheduler_runs: 1, queues: "urgent priority=1".to_owned(), ..settings() };
    let other = scene.api(other, None);
    other.take_up(&other.home).await.unwrap();
    let mut started = Vec::new();
    for trigger in [&first, &urgent, &third, &lost] {
        assert_eq!(scene.exit(trigger).await, Some(0), "{trigger}");
        started.push(scene.ledger().records(trigger).await.unwrap()[0].started.unwrap());
    }
    assert!(started[1] < started[0] && started[2] < started[0] && started[2] < started[3], "{started:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn more_triggers_than_are_queued_are_refused_for_now() {
    let scene = Scene::new();
    let api = scene.api(Settings { driven_triggers: 1, queued_triggers: 1, ..settings() }, None);
    occupy(&api);
    let waiting = api.submit(scene.request("a", "select 1 as a")).await.unwrap();
    let error = api.submit(scene.request("b", "select 1 as a")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.to_string().contains("queued_triggers"), "{error}");
    assert_eq!(api.lock().queue.driven(), 1);
    let shown = scraped(&api).await;
    assert_eq!(shown.value("pulse_triggers_waiting", &[]), Some(1.0));
    assert_eq!(shown.value("pulse_triggers_driven", &[]), Some(1.0));
    assert_eq!(shown.value("pulse_triggers_refused_total", &[("reason", "queue_full")]), Some(1.0));
    api.lock().queue.forget(&id("busy"));
    api.take_up(&api.home).await.unwrap();
    assert_eq!(scene.exit(&waiting).await, Some(0));
}

async fn scraped(api: &Api) -> Scraped {
    Scraped::parse(&api.metrics().encode(&api.scene().await).unwrap()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn submissions_count_once_for_each_key_and_refusals_by_their_reason() {
    let scene = Scene::new();
    let api = scene.api(settings(), None);
    let good = api.submit(scene.request("good", "select 1 as a")).await.unwrap();
    assert_eq!(api.submit(scene.request("good", "select 1 as a")).await.unwrap(), good);
    api.submit(scene.request("none", "select 1 as")).await.unwrap_err();
    let bad = api.submit(scene.request("bad", "select cast('x' as int) as a")).await.unwrap();
    assert_eq!((scene.exit(&good).await, scene.exit(&bad).await), (Some(0), Some(1)));
    let shown = scraped(&api).await;
    let ended = |outcome| shown.value("pulse_triggers_ended_total", &[("outcome", outcome)]);
    let runs = |outcome| shown.value("pulse_runs_total", &[("table", "silver.one"), ("outcome", outcome)]);
    assert_eq!(shown.value("pulse_triggers_submitted_total", &[]), Some(2.0));
    assert_eq!(shown.value("pulse_triggers_refused_total", &[("reason", "invalid")]), Some(1.0));
    assert_eq!((ended("done"), ended("run_failed")), (Some(1.0), Some(1.0)));
    assert_eq!((runs("succeeded"), runs("failed")), (Some(1.0), Some(1.0)));
    assert_eq!(shown.value("pulse_runs_running_limit", &[]), Some(8.0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trigger_that_waits_is_cancelled_at_once() {
    let scene = Scene::new();
    let api = scene.api(Settings { driven_triggers: 1, ..settings() }, None);
    occupy(&api);
    let waiting = api.submit(scene.request("a", "select 1 as a")).await.unwrap();
    api.cancel(&waiting, &scene.ledger()).await.unwrap();
    assert_eq!(scene.exit(&waiting).await, Some(TriggerExit::Cancelled.code()));
    let records = scene.ledger().records(&waiting).await.unwrap();
    assert_eq!(records[0].state, RunState::Cancelled);
    assert!(!scene.lake.path().join("silver").exists());
}

/// Runs that end many times a second do not keep the driver from looking for a cancel.
#[tokio::test(flavor = "multi_thread")]
async fn a_trigger_of_many_short_runs_is_cancelled() {
    let scene = Scene::new();
    let api = scene.api(settings(), None);
    let trigger = api.submit(scene.many("many", "silver", 1_000)).await.unwrap();
    let ledger = scene.ledger();
    let ended = async || {
        let records = ledger.records(&trigger).await.unwrap();
        records.iter().filter(|record| record.state == RunState::Succeeded).count()
    };
    while ended().await == 0 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    api.cancel(&trigger, &ledger).await.unwrap();
    assert_eq!(scene.exit(&trigger).await, Some(TriggerExit::Cancelled.code()));
    assert!(ended().await < 1_000);
}

/// Two triggers with many jobs take turns: neither has a run less than the other for long.
#[tokio::test(flavor = "multi_thread")]
async fn triggers_share_the_runs_of_a_scheduler() {
    let scene = Scene::new();
    let api = scene.api(Settings { scheduler_runs: 1, ..settings() }, None);
    let one = api.submit(scene.many("one", "silver", 6)).await.unwrap();
    let two = api.submit(scene.many("two", "gold", 6)).await.unwrap();
    let mut spans = Vec::new();
    for trigger in [&one, &two] {
        assert_eq!(scene.exit(trigger).await, Some(0));
        for record in scene.ledger().records(trigger).await.unwrap() {
            spans.push((record.started.unwrap(), record.ended.unwrap(), trigger == &one));
        }
    }
    spans.sort_unstable();
    let order: Vec<bool> = spans.iter().map(|(_, _, is_first)| *is_first).collect();
    let turns = order.windows(2).filter(|pair| pair[0] != pair[1]).count();
    assert!(turns >= 4, "{order:?}");
    // One at a time, up to the precision of the stamps.
    assert!(spans.windows(2).all(|pair| pair[1].0 + 1 >= pair[0].1), "{spans:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_submission_may_not_name_is_refused() {
    let scene = Scene::new();
    let api = scene.api(settings(), None);
    let mut request = scene.request("etc", "select 1 as a");
    request.lake = "file:///etc/".to_owned();
    let error = api.submit(request).await.unwrap_err();
    assert!(error.to_string().contains("allowed_lakes"), "{error}");

    let url = scene.request("own", "select 1 as a").lake;
    for own in ["_pulse", "_pulse/x", "silver/t/_delta_log"] {
        let mut request = scene.request("own", "select 1 as a");
        request.lake = format!("{url}{own}/");
        let error = api.submit(request).await.unwrap_err();
        assert!(error.to_string().contains("name the lake's own folder"), "{own}: {error}");
    }
    let mut request = scene.request("links", "select a from raw.x");
    let sources = format!(
        "[files.x]\nroot = \"{url}raw\"\nfollow_links = true\ncolumns = [{{ name = \"a\", type = \"string\" }}]\n\
         [files.x.feed.all]\npath = \"*.csv\"\nformat = {{ csv = {{}} }}\n"
    );
    std::fs::create_dir(scene.lake.path().join("raw")).unwrap();
    request.files.insert("sources.toml".to_owned(), sources);
    let error = api.submit(request).await.unwrap_err();
    assert!(error.to_string().contains("follow_links"), "{error}");

    let mut request = scene.request("raw", "select a from raw.x");
    let sources = "[files.x]\nroot = \"file:///etc\"\ncolumns = [{ name = \"a\", type = \"string\" }]\n\
                   [files.x.feed.all]\npath = \"shadow\"\nformat = { csv = {} }\n";
    request.files.insert("sources.toml".to_owned(), sources.to_owned());
    let error = api.submit(request).await.unwrap_err();
    assert!(error.to_string().contains("allowed_roots"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_that_is_too_deep_is_refused_and_the_scheduler_lives() {
    let scene = Scene::new();
    let api = scene.api(settings(), None);
    let deep = |terms: usize| format!("select 1 as a where 1 = 1{}", " and 1 = 1".repeat(terms));
    let error = api.submit(scene.request("deep", &deep(50_000))).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    let deepest = api.submit(scene.request("deepest", &deep(490))).await.unwrap();
    assert_eq!(scene.exit(&deepest).await, Some(0));
}

/// `infra/modules/observability` counts lines with these words.
#[test]
fn a_failed_run_is_told_by_a_short_line_before_its_error() {
    let trigger: TriggerId = "20260101T000000-0000000a".parse().unwrap();
    let run = |job: &str, state: RunState| RunRecord {
        state,
        ..RunRecord::queued(RunId::new(trigger.clone(), job.parse().unwrap()))
    };
    let long = "x".repeat(10_000);
    let failed =
        RunRecord { error: Some(RunError::new(ErrorKind::Data, long.clone())), ..run("silver.bars", RunState::Failed) };
    let lines = failures(&[run("silver.a", RunState::Succeeded), failed, run("silver.c", RunState::Skipped)]);
    assert_eq!(lines, [format!("run failed: 20260101T000000-0000000a-silver.bars (Data)\n{long}")]);
}
