//! Landings against a provider in memory, with a clock of their own, killed at any point.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use chrono::TimeDelta;
use object_store::ObjectStore;
use object_store::memory::InMemory;
use object_store::path::Path;
use pulse_core::project::{Project, ProjectFiles};
use pulse_core::sources::Sources;
use std::sync::Arc;

use super::*;
use crate::fetch::{Fetched, Request};
use crate::period::Period;

/// Advances by what is slept.
#[derive(Debug)]
struct Simulated(Mutex<DateTime<Utc>>);

impl Simulated {
    fn new() -> Self {
        Self(Mutex::new("2024-03-20T12:00:00Z".parse().unwrap()))
    }
}

#[async_trait]
impl Clock for Simulated {
    fn now(&self) -> DateTime<Utc> {
        let mut now = self.0.lock().unwrap();
        // Time passes, so that no two answers have one name.
        *now += TimeDelta::milliseconds(1);
        *now
    }

    async fn sleep(&self, length: Duration) {
        *self.0.lock().unwrap() += TimeDelta::from_std(length).unwrap();
        tokio::task::yield_now().await;
    }
}

/// By the URL, and the number of times that it was asked for.
type Answering = dyn Fn(&str, usize) -> Fetched + Send + Sync;

/// Answers each request by a function, and counts them.
struct Fake {
    answer: Box<Answering>,
    asked: Mutex<BTreeMap<String, usize>>,
    /// Fetches until the process is killed in the middle of one.
    lives: AtomicUsize,
}

impl std::fmt::Debug for Fake {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Fake")
    }
}

impl Fake {
    fn new(answer: impl Fn(&str, usize) -> Fetched + Send + Sync + 'static) -> Self {
        Self { answer: Box::new(answer), asked: Mutex::default(), lives: AtomicUsize::new(usize::MAX) }
    }

    fn total(&self) -> usize {
        self.asked.lock().unwrap().values().sum()
    }
}

#[async_trait]
impl Fetch for Fake {
    async fn fetch(&self, request: &Request) -> Fetched {
        let asked = {
            let mut asked = self.asked.lock().unwrap();
            let count = asked.entry(request.url.to_string()).or_default();
            *count += 1;
            *count
        };
        if self.lives.fetch_sub(1, Ordering::Relaxed) == 0 {
            std::future::pending::<()>().await;
        }
        tokio::task::yield_now().await;
        (self.answer)(request.url.as_str(), asked)
    }
}

fn data(_: &str, _: usize) -> Fetched {
    Fetched::Body(br#"{"d": [1]}"#.to_vec())
}

fn note() -> Fetched {
    Fetched::Body(br#"{"Note": "slow down"}"#.to_vec())
}

fn sources(more: &str) -> Sources {
    let text = format!(
        "[providers.p]\nurl = \"https://h.example\"\nroot = \"r\"\n{more}\n[providers.p.requests.bars]\n\
         path = \"/q?s={{symbol}}&d={{date}}\"\nperiod = \"day\"\nanswer = {{ json = {{ data = \"/d\" }} }}\n"
    );
    let files = ProjectFiles::from([
        ("project.toml".to_owned(), "name = \"p\"\n[defaults]\nowner = \"o\"\n".to_owned()),
        ("sources.toml".to_owned(), text),
    ]);
    Project::parse(&files).unwrap().sources
}

struct Scene {
    sources: Sources,
    store: Arc<InMemory>,
    clock: Simulated,
}

impl Scene {
    fn new(more: &str) -> Self {
        Self { sources: sources(more), store: Arc::new(InMemory::new()), clock: Simulated::new() }
    }

    fn folder(&self) -> ProviderFolder {
        let store: Arc<dyn ObjectStore> = self.store.clone();
        ProviderFolder::new(store, &Path::from("raw"), "p")
    }

    async fn land(&self, fake: &Fake, order: &Order) -> Landed {
        let (_stop, stopped) = watch::channel(false);
        self.land_until(fake, order, stopped).await
    }

    async fn land_until(&self, fake: &Fake, order: &Order, stopped: watch::Receiver<bool>) -> Landed {
        let provider = &self.sources.providers["p"];
        let requested =
            Requested { provider_name: "p", provider, request_name: "bars", request: &provider.requests["bars"] };
        let options = LandOptions { requested, again: false, most: None, clock: &self.clock };
        land(&options, (&self.folder(), None, fake), order, stopped, &|_| ()).await.unwrap()
    }

    /// Paths of landed files by ending.
    async fn files(&self, ending: &str) -> Vec<String> {
        let objects: Vec<_> = self.store.list(Some(&Path::from("raw/p/bars"))).collect().await;
        let paths = objects.into_iter().map(|object| object.unwrap().location.to_string());
        paths.filter(|path| path.ends_with(ending)).collect()
    }
}

/// Symbols x days up to 2024-03-15, whose answers are final.
fn order(symbols: usize, days: u32) -> Order {
    let periods = (0..days)
        .map(|day| Period::Day("2024-03-15".parse::<chrono::NaiveDate>().unwrap() - chrono::Days::new(u64::from(day))));
    Order { symbols: (0..symbols).map(|number| Some(format!("S{number}"))).collect(), periods: periods.collect() }
}

fn is_complete(landed: &Landed) -> bool {
    matches!(landed.ended, Ended::Complete)
}

#[tokio::test]
async fn what_has_landed_is_not_requested_again() {
    let scene = Scene::new("");
    let fake = Fake::new(data);
    let first = scene.land(&fake, &order(3, 4)).await;
    assert_eq!((first.data, first.left, is_complete(&first)), (12, 0, true));
    let second = scene.land(&fake, &order(3, 5)).await;
    assert_eq!((second.data, fake.total()), (3, 15));
    assert!(fake.asked.lock().unwrap().values().all(|count| *count == 1));
    assert_eq!(scene.files(".json").await.len(), 15);
}

#[tokio::test]
async fn a_process_that_is_killed_at_any_request_loses_none_and_repeats_that_one_alone() {
    for lives in 0..24 {
        let scene = Scene::new("concurrency = 1\nlimits = { per_second = 2, per_minute = 7 }");
        let fake = Fake::new(data);
        let wanted = order(4, 3);
        let mut kills = 0;
        loop {
            fake.lives.store(if kills < 2 { lives } else { usize::MAX }, Ordering::Relaxed);
            // The landing is dropped where it waits for the answer, as a killed process would end there.
            let outcome = {
                let landing = scene.land(&fake, &wanted);
                tokio::pin!(landing);
                let mut polls = 0;
                std::future::poll_fn(|context| {
                    polls += 1;
                    context.waker().wake_by_ref();
                    match landing.as_mut().poll(context) {
                        std::task::Poll::Ready(landed) => std::task::Poll::Ready(Some(landed)),
                        std::task::Poll::Pending if polls > 5_000 => std::task::Poll::Ready(None),
                        std::task::Poll::Pending => std::task::Poll::Pending,
                    }
                })
                .await
            };
            match outcome {
                Some(landed) => {
                    assert!(is_complete(&landed), "{landed:?}");
                    break;
                }
                None => kills += 1,
            }
        }
        assert_eq!(scene.files(".json").await.len(), 12, "{lives}");
        assert_eq!(fake.total(), 12 + kills, "{lives}");
    }
}

#[tokio::test]
async fn processes_side_by_side_share_requests_and_limits() {
    let scene = Scene::new("limits = { per_second = 3 }");
    let fake = Fake::new(data);
    let wanted = order(5, 6);
    let began = scene.clock.now();
    let all = futures::future::join_all((0..4).map(|_| scene.land(&fake, &wanted))).await;
    assert_eq!(all.iter().map(|one| one.data).sum::<usize>(), 30);
    assert!(fake.asked.lock().unwrap().values().all(|count| *count == 1), "{:?}", fake.asked);
    assert!(scene.clock.now() - began >= TimeDelta::seconds(9));
}

#[tokio::test]
async fn the_limit_of_a_day_ends_a_landing_and_the_next_day_goes_on() {
    let scene = Scene::new("limits = { per_day = 5 }");
    let fake = Fake::new(data);
    let first = scene.land(&fake, &order(4, 2)).await;
    let Ended::DayUsed(until) = first.ended else { panic!("{first:?}") };
    assert_eq!((first.data, first.left, fake.total()), (5, 3, 5));
    let none = scene.land(&fake, &order(4, 2)).await;
    assert_eq!((none.data, fake.total()), (0, 5));
    *scene.clock.0.lock().unwrap() = until;
    let second = scene.land(&fake, &order(4, 2)).await;
    assert_eq!((second.data, is_complete(&second), fake.total()), (3, true, 8));
}

#[tokio::test]
async fn answers_without_data_are_believed_where_others_have_data() {
    let scene = Scene::new("concurrency = 1");
    let fake = Fake::new(|url, _| if url.contains("s=S1") { note() } else { data(url, 0) });
    let first = scene.land(&fake, &order(3, 1)).await;
    assert_eq!((first.data, first.without_data, is_complete(&first)), (2, 1, true));
    let second = scene.land(&fake, &order(3, 1)).await;
    assert_eq!((second.without_data, is_complete(&second)), (1, true), "{second:?}");
    let sent = fake.total();
    // Twice without data: it is not asked for again, until a month has passed.
    assert_eq!(scene.land(&fake, &order(3, 1)).await.data, 0);
    assert_eq!(fake.total(), sent);
    assert_eq!(scene.files(".none").await.len(), 2);
    *scene.clock.0.lock().unwrap() += TimeDelta::days(31);
    scene.land(&fake, &order(3, 1)).await;
    assert!(fake.total() > sent);
}

#[tokio::test]
async fn a_provider_that_gives_no_data_at_all_is_not_believed() {
    let scene = Scene::new("concurrency = 1");
    let fake = Fake::new(|_, _| note());
    let landed = scene.land(&fake, &order(5, 5)).await;
    let Ended::Stopped(error) = &landed.ended else { panic!("{landed:?}") };
    assert_eq!(error.kind(), pulse_core::ErrorKind::Unavailable);
    assert!(error.message().contains("slow down"), "{error}");
    assert_eq!((fake.total(), landed.left), (ROW, 25));
    assert!(scene.files(".none").await.is_empty());
}

#[tokio::test]
async fn a_request_that_had_data_before_tells_absence_from_a_limit() {
    let scene = Scene::new("concurrency = 1");
    scene.land(&Fake::new(data), &order(1, 1)).await;
    let delisted = order(5, 1);
    let gone = |url: &str, _| if url.contains("s=S0") { data(url, 0) } else { note() };
    let landed = scene.land(&Fake::new(gone), &delisted).await;
    assert_eq!((landed.without_data, is_complete(&landed)), (4, true), "{landed:?}");
    let limited = scene.land(&Fake::new(|_, _| note()), &order(9, 1)).await;
    assert!(matches!(limited.ended, Ended::Stopped(_)));
    assert_eq!(scene.files(".none").await.len(), 4);
}

#[tokio::test]
async fn a_day_that_is_used_up_while_absence_is_in_doubt_is_no_error() {
    // One request and its repetition; the one that would tell is beyond the limit.
    let scene = Scene::new("concurrency = 1\nlimits = { per_day = 3 }");
    scene.land(&Fake::new(data), &order(1, 1)).await;
    let gone = Fake::new(|url, _| if url.contains("s=S0") { data(url, 0) } else { note() });
    let landed = scene.land(&gone, &order(2, 1)).await;
    assert!(matches!(landed.ended, Ended::DayUsed(_)), "{landed:?}");
    assert_eq!((gone.total(), landed.left), (2, 1));
    assert!(scene.files(".none").await.is_empty());
}

#[tokio::test]
async fn what_cannot_be_reached_is_asked_again_and_then_left() {
    let scene = Scene::new("concurrency = 1\nattempts = 3");
    let fake = Fake::new(|url, asked| match url.contains("S1") || (url.contains("S0") && asked < 3) {
        true => Fetched::Failed("no connection".to_owned()),
        false => data(url, 0),
    });
    let landed = scene.land(&fake, &order(3, 1)).await;
    assert_eq!((landed.data, landed.left, fake.total()), (2, 1, 3 + 3 + 1));
    assert!(matches!(&landed.ended, Ended::Stopped(error) if error.message().contains("no connection")));
    let down = Fake::new(|_, _| Fetched::Failed("no connection".to_owned()));
    let landed = scene.land(&down, &order(9, 9)).await;
    assert_eq!((landed.left, down.total()), (79, ROW * 3));
}

#[tokio::test]
async fn a_time_to_wait_holds_for_every_process() {
    let scene = Scene::new("concurrency = 1");
    let fake = Fake::new(|url, asked| match url.contains("S0") && asked == 1 {
        true => Fetched::Busy { status: 429, retry_after: Some(TimeDelta::seconds(90)) },
        false => data(url, 0),
    });
    let began = scene.clock.now();
    let landed = scene.land(&fake, &order(2, 1)).await;
    assert_eq!((landed.data, is_complete(&landed)), (2, true));
    assert!(scene.clock.now() - began >= TimeDelta::seconds(90));
    let long = Fake::new(|_, _| Fetched::Busy { status: 429, retry_after: Some(TimeDelta::hours(3)) });
    let landed = scene.land(&long, &order(3, 1)).await;
    assert!(
        matches!(&landed.ended, Ended::Stopped(error) if error.message().contains("asks to wait until")),
        "{landed:?}"
    );
}

#[tokio::test]
async fn an_end_that_is_asked_for_lands_what_was_sent() {
    let scene = Scene::new("concurrency = 2");
    let (stop, stopped) = watch::channel(false);
    let stop = Arc::new(stop);
    let fake = {
        let stop = Arc::clone(&stop);
        Fake::new(move |url, _| {
            let _ = stop.send(true);
            data(url, 0)
        })
    };
    let landed = scene.land_until(&fake, &order(9, 1), stopped).await;
    assert!(matches!(landed.ended, Ended::Interrupted), "{landed:?}");
    assert_eq!(landed.data, fake.total());
    assert_eq!(landed.data + landed.left, 9);
    assert_eq!(scene.files(".json").await.len(), landed.data);
}

#[tokio::test]
async fn wrong_keys_and_clocks_end_a_landing() {
    for (fetched, words) in [
        (Fetched::Forbidden(401), "refuses the request with status 401"),
        (Fetched::Clock(TimeDelta::days(3)), "differ by 4320 minutes"),
    ] {
        let scene = Scene::new("concurrency = 1");
        let fake = Fake::new(move |_, _| fetched.clone());
        let landed = scene.land(&fake, &order(9, 9)).await;
        assert!(matches!(&landed.ended, Ended::Stopped(error) if error.message().contains(words)), "{landed:?}");
        assert_eq!((fake.total(), landed.left), (1, 81));
    }
}

#[tokio::test]
async fn a_truncated_answer_is_asked_for_again() {
    let scene = Scene::new("");
    let fake = Fake::new(|url, asked| if asked == 1 { Fetched::Body(b"{\"d\": [1".to_vec()) } else { data(url, 0) });
    let landed = scene.land(&fake, &order(2, 2)).await;
    assert_eq!((landed.data, landed.without_data, fake.total()), (4, 0, 8));
}
