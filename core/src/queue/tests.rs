use std::collections::{BTreeSet, HashMap};
use std::io::Write as _;

use proptest::prelude::*;

use super::*;

fn name(text: &str) -> QueueName {
    text.parse().unwrap()
}

fn turns(queues: &str, most: usize) -> Turns<u32, ()> {
    Turns::new(Queues::parse(queues).unwrap(), most)
}

/// Lets `count` wait in each queue, and says how often each had a turn in the first `first` of them, one at a time.
fn shares(queues: &str, count: u32, first: usize) -> Vec<(String, usize)> {
    let mut turns = turns(queues, 1);
    let names: Vec<QueueName> = turns.queues.iter().map(|(name, _)| name.clone()).collect();
    let mut of = HashMap::new();
    for key in 0..count {
        for (at, name) in (0_u32..).zip(&names) {
            turns.wait(name, key * 100 + at, ());
            of.insert(key * 100 + at, name.to_string());
        }
    }
    let mut had: BTreeMap<String, usize> = names.iter().map(|name| (name.to_string(), 0)).collect();
    for _ in 0..first {
        let (key, ()) = turns.next_turn().unwrap();
        *had.get_mut(&of[&key]).unwrap() += 1;
        turns.release(&key);
    }
    had.into_iter().collect()
}

#[test]
fn turns_follow_the_weights() {
    let had = shares("a weight=1; b weight=2; c weight=5; default weight=2", 100, 100);
    let had: Vec<(&str, usize)> = had.iter().map(|(name, turns)| (name.as_str(), *turns)).collect();
    assert_eq!(had, [("a", 10), ("b", 20), ("c", 50), ("default", 20)]);
}

/// Places that are held change nothing: with more queues than places, each start still goes by weight.
#[test]
fn weights_hold_however_many_queues_share_a_few_places() {
    let many: String = (0..20).map(|number| format!("; low{number}")).collect();
    let mut turns: Turns<u32, ()> = Turns::new(Queues::parse(&format!("big weight=100{many}")).unwrap(), 8);
    for key in 0..500 {
        turns.wait(&name("big"), key, ());
    }
    for number in 0..20 {
        for key in 0..20 {
            turns.wait(&name(&format!("low{number}")), 1_000 + number * 20 + key, ());
        }
    }
    let mut running = std::collections::VecDeque::new();
    let mut had = [0, 0];
    for _ in 0..240 {
        if running.len() == 8 {
            turns.release(&running.pop_front().unwrap());
        }
        let (key, ()) = turns.next_turn().unwrap();
        had[usize::from(key >= 1_000)] += 1;
        running.push_back(key);
    }
    assert!((198..=202).contains(&had[0]), "{had:?}");
}

#[test]
fn a_lower_priority_waits_for_eight_turns_and_no_more() {
    let had = shares("urgent priority=5", 100, 90);
    assert_eq!(had, [("default".to_owned(), 10), ("urgent".to_owned(), 80)]);
    // However many there are, the urgent one has eight of nine, and the weights of the others count among them.
    let had: BTreeMap<_, _> =
        shares("urgent priority=5; low priority=1; heavy weight=4; default weight=5", 1_000, 900).into_iter().collect();
    assert_eq!([had["urgent"], had["low"], had["heavy"], had["default"]], [800, 10, 40, 50]);
}

#[test]
fn a_queue_stays_below_its_limit_and_what_has_begun_goes_on() {
    let mut turns = turns("etl runs=2 weight=100", 3);
    for key in 0..10 {
        turns.wait(&name("etl"), key, ());
    }
    assert_eq!(
        [turns.next_turn(), turns.next_turn(), turns.next_turn()].map(|next| next.map(|(key, ())| key)),
        [Some(0), Some(1), None]
    );
    turns.wait(&name("default"), 50, ());
    assert_eq!(turns.next_turn(), Some((50, ())));
    turns.release(&0);
    assert_eq!(turns.next_turn(), Some((2, ())));
    assert_eq!((turns.next_turn(), turns.held()), (None, 3));
    // One that is taken out of turn holds a place beyond the limits.
    assert_eq!((turns.at_once(&3), turns.held()), (Some(()), 4));
    assert_eq!((turns.forget(&4), turns.forget(&4)), (Some(()), None));
}

#[test]
fn a_queue_that_was_empty_has_saved_up_nothing() {
    let mut turns = turns("a; b", 1);
    for key in 0..50 {
        turns.wait(&name("a"), key, ());
    }
    for _ in 0..40 {
        let (key, ()) = turns.next_turn().unwrap();
        turns.release(&key);
    }
    for key in 100..150 {
        turns.wait(&name("b"), key, ());
    }
    let next = |turns: &mut Turns<u32, ()>| {
        let (key, ()) = turns.next_turn().unwrap();
        turns.release(&key);
        key
    };
    let had: Vec<bool> = (0..10).map(|_| next(&mut turns) < 100).collect();
    assert_eq!(had.iter().filter(|is_a| **is_a).count(), 5, "{had:?}");
}

#[test]
fn what_is_wrong_in_the_setting_is_named() {
    for (text, part) in [
        ("Etl", "`Etl` is no name of a queue"),
        ("etl weight=0", "`weight` cannot be `0`: write 1 to 1000"),
        ("etl weight=-1", "`weight` cannot be `-1`"),
        ("etl weight=1001", "write 1 to 1000"),
        ("etl runs=0", "`runs` cannot be `0`"),
        ("etl priority=10", "`priority` cannot be `10`: write 0 to 9"),
        ("etl fast", "`fast` has no value: write `weight=3`"),
        ("etl speed=1", "there is no `speed`"),
        ("etl weight=3 weight=4", "`weight` is there twice"),
        ("etl; etl weight=2", "names the queue `etl` twice"),
        (&(0..200).map(|at| format!("q{at};")).collect::<String>(), "has 201 queues, and 100 are allowed"),
    ] {
        let error = Queues::parse(text).unwrap_err();
        assert!(error.message().contains(part), "{text}: {error}");
    }
    let error = Queues::parse("etl").unwrap().check(&name("elt")).unwrap_err();
    assert!(error.message().contains("no queue `elt`; it has default, etl"), "{error}");
    let queues = Queues::parse(" default weight=7 ; etl  runs=3;").unwrap();
    assert_eq!((queues.options(&name("default")).weight.get(), queues.options(&name("etl")).runs), (7, Some(3)));
}

/// 10,000 arrivals of three teams on eight places, in steps of a second: one team floods, one comes steadily, one is urgent.
#[test]
fn ten_thousand_arrivals_are_shared_as_declared() {
    let mut turns = Turns::new(Queues::parse("flood weight=1; steady weight=3; urgent priority=5 runs=2").unwrap(), 8);
    let queues = ["flood", "steady", "urgent"].map(name);
    let mut random = 1_u64;
    let mut below = |most: u64| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random % most
    };
    let (mut arrived, mut ends, mut waits) = (0_u32, BTreeSet::new(), HashMap::<usize, Vec<u64>>::new());
    let (mut now, mut since) = (0_u64, HashMap::new());
    let mut held = [0_u64; 2];
    while arrived < 10_000 || turns.held() + turns.waiting() > 0 {
        while let Some((end, key)) = ends.first().copied().filter(|(end, _)| *end <= now) {
            ends.remove(&(end, key));
            turns.release(&key);
        }
        // 8,000 of the flood come within the first ten minutes; the others come over five hours.
        let comes = [if now < 600 { 14 } else { 0 }, u64::from(now % 10 == 0), u64::from(now % 90 == 0)];
        for (queue, count) in (0_usize..).zip(comes) {
            for _ in 0..count {
                if arrived < 10_000 {
                    turns.wait(&queues[queue], arrived, ());
                    since.insert(arrived, (queue, now));
                    arrived += 1;
                }
            }
        }
        while let Some((key, ())) = turns.next_turn() {
            let (queue, at) = since[&key];
            waits.entry(queue).or_default().push(now - at);
            ends.insert((now + 10 + below(40), key));
        }
        let states = turns.states();
        if states[&queues[0]].waiting > 0 && states[&queues[1]].waiting > 0 {
            held[0] += states[&queues[0]].holders as u64;
            held[1] += states[&queues[1]].holders as u64;
        }
        now += 1;
        assert!(now < 1_000_000, "it comes to an end");
    }
    let figures = |queue: usize| {
        let mut of = waits[&queue].clone();
        of.sort_unstable();
        (of.len(), of[of.len() / 2], of[of.len() * 99 / 100], of[of.len() - 1])
    };
    let [flood, steady, urgent] = [0, 1, 2].map(figures);
    let shown = format!(
        "runs, median, p99 and longest wait in s: flood {flood:?} steady {steady:?} urgent {urgent:?}; {now} s in all"
    );
    // For docs/guide/cluster.md.
    let _ = writeln!(std::io::stderr(), "{shown}");
    assert_eq!(flood.0 + steady.0 + urgent.0, 10_000);
    // What is urgent waits for a run to end, however many wait in the flood.
    assert!(urgent.2 <= 60, "{urgent:?}");
    // The steady queue asks for less than its share of three quarters, and gets it.
    assert!(steady.2 <= 120, "{steady:?}");
    assert!(flood.3 > 10_000, "the flood waits for itself: {flood:?}");
}

#[derive(Debug, Clone)]
enum Step {
    Wait(usize),
    Next,
    Release(usize),
    AtOnce(usize),
    Forget(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (0..4_usize).prop_map(Step::Wait),
        3 => Just(Step::Next),
        2 => any::<usize>().prop_map(Step::Release),
        1 => any::<usize>().prop_map(Step::AtOnce),
        1 => any::<usize>().prop_map(Step::Forget),
    ]
}

proptest! {
    /// Nothing is lost or begun twice, no limit is exceeded, and a place stays free only where nothing may take it.
    #[test]
    fn turns_agree_with_a_model(steps in proptest::collection::vec(step(), 0..200), most in 1_usize..5) {
        let mut turns = turns("a weight=3 runs=2; b priority=2; c weight=2", most);
        let names = ["a", "b", "c", "undeclared"].map(name);
        let (mut waiting, mut holding) = (BTreeMap::<u32, usize>::new(), BTreeMap::<u32, usize>::new());
        let nth = |of: &BTreeMap<u32, usize>, at: usize| of.keys().nth(at % of.len().max(1)).copied();
        for (key, step) in (0_u32..).zip(steps) {
            match step {
                Step::Wait(queue) => {
                    turns.wait(&names[queue], key, ());
                    waiting.insert(key, queue);
                }
                Step::Next => match turns.next_turn() {
                    Some((key, ())) => {
                        let queue = waiting.remove(&key).unwrap();
                        prop_assert!(holding.len() < most);
                        prop_assert!(waiting.iter().all(|(other, of)| *of != queue || *other > key), "first come, first served");
                        prop_assert!(queue != 0 || holding.values().filter(|of| **of == 0).count() < 2);
                        holding.insert(key, queue);
                    }
                    None => {
                        let has_limit = holding.values().filter(|of| **of == 0).count() >= 2;
                        prop_assert!(holding.len() >= most || waiting.values().all(|of| *of == 0 && has_limit));
                    }
                },
                Step::Release(at) => if let Some(key) = nth(&holding, at) {
                    turns.release(&key);
                    holding.remove(&key);
                },
                Step::AtOnce(at) => if let Some(key) = nth(&waiting, at) {
                    prop_assert!(turns.at_once(&key).is_some());
                    holding.insert(key, waiting.remove(&key).unwrap());
                },
                Step::Forget(at) => if let Some(key) = nth(&waiting, at) {
                    prop_assert!(turns.forget(&key).is_some());
                    waiting.remove(&key);
                },
            }
            prop_assert_eq!((turns.waiting(), turns.held()), (waiting.len(), holding.len()));
            prop_assert!(waiting.keys().all(|key| turns.is_waiting(key)) && holding.keys().all(|key| turns.holds(key)));
        }
    }
}
