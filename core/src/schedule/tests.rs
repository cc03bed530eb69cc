use chrono::{Datelike as _, NaiveDateTime, TimeZone as _, Timelike as _};
use proptest::prelude::*;

use super::*;

fn schedule(cron: &str, zone: &str) -> Schedule {
    Schedule {
        cron: Some(cron.to_owned()),
        sessions: None,
        only_changed: false,
        time_zone: zone.to_owned(),
        jobs: Vec::new(),
        catch_up: CatchUp::All,
        enabled: true,
    }
}

fn time(text: &str) -> DateTime<Utc> {
    NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M").unwrap().and_utc()
}

fn table(cron: &str, zone: &str) -> Timetable {
    Timetable::new(&schedule(cron, zone), []).unwrap()
}

/// Times between two instants, as UTC's hours and minutes.
fn between(cron: &str, zone: &str, from: &str, to: &str) -> Vec<String> {
    let table = table(cron, zone);
    let times = std::iter::successors(table.next(time(from)), |at| table.next(*at));
    times.take_while(|at| *at <= time(to)).map(|at| at.format("%H:%M").to_string()).collect()
}

#[test]
fn a_fixed_time_that_the_clock_change_leaves_out_runs_once_at_the_change() {
    // Toronto's clocks went from 02:00 to 03:00 at 07:00 UTC on 2023-03-12.
    let even = between("0 */2 * * *", "America/Toronto", "2023-03-12 04:30", "2023-03-12 12:30");
    // 02:00 is left out, and every second hour goes on.
    assert_eq!(even, ["05:00", "08:00", "10:00", "12:00"]);
    let fixed = between("30 2 * * *", "America/Toronto", "2023-03-11 00:00", "2023-03-14 00:00");
    assert_eq!(fixed.len(), 3);
    assert_eq!(fixed[1], "07:00");
    let fourth = between("20 */4 * * *", "America/Toronto", "2023-03-12 04:30", "2023-03-12 20:30");
    assert_eq!(fourth, ["05:20", "08:20", "12:20", "16:20", "20:20"]);
}

#[test]
fn a_time_that_the_clock_change_repeats_runs_once_unless_every_hour_runs() {
    // Brussels' clocks went from 03:00 to 02:00 at 01:00 UTC on 2023-10-29.
    let fixed = between("30 2 * * *", "Europe/Brussels", "2023-10-28 12:00", "2023-10-29 12:00");
    assert_eq!(fixed, ["00:30"]);
    let hourly = between("30 * * * *", "Europe/Brussels", "2023-10-28 23:00", "2023-10-29 03:00");
    assert_eq!(hourly, ["23:30", "00:30", "01:30", "02:30"]);
    let quarters = between("*/15 * * * *", "Europe/Brussels", "2023-10-28 23:59", "2023-10-29 02:00");
    assert_eq!(quarters, ["00:00", "00:15", "00:30", "00:45", "01:00", "01:15", "01:30", "01:45", "02:00"]);
    let day = between("0,15,30,45 6-22 * * *", "Europe/Brussels", "2023-10-28 22:00", "2023-10-29 22:00");
    assert_eq!(day.len(), 17 * 4);
    assert_eq!((day.first().unwrap().as_str(), day.last().unwrap().as_str()), ("05:00", "21:45"));
}

#[test]
fn leap_days_and_weekdays() {
    assert_eq!(table("0 0 29 2 *", "UTC").next(time("2024-03-01 00:00")), Some(time("2028-02-29 00:00")));
    let friday = table("30 16 * * mon-fri", "America/New_York").next(time("2024-03-08 20:00")).unwrap();
    assert_eq!(friday, time("2024-03-08 21:30"));
    // The weekend has a clock change.
    let monday = table("30 16 * * mon-fri", "America/New_York").next(friday).unwrap();
    assert_eq!(monday, time("2024-03-11 20:30"));
    assert_eq!(table("0 8 * * *", "America/New_York").local(monday), "2024-03-11 16:30 EDT");
}

#[test]
fn what_is_no_timetable_is_refused() {
    let wrong = |cron: &str, zone: &str| Timetable::new(&schedule(cron, zone), []).unwrap_err();
    for cron in ["", "* * * *", "60 * * * *", "0 0 * * * *", "0 0 0 1 1 * 2030", "a b c d e", "*/0 * * * *"] {
        assert_eq!(wrong(cron, "UTC").key, "cron", "{cron}");
    }
    assert!(wrong("0 0 30 2 *", "UTC").message.contains("no time"));
    assert_eq!(wrong("* * * * *", "America/NewYork").help, "did you mean `America/New_York`?");
    assert_eq!(wrong("* * * * *", "EST5EDT4").key, "time_zone");
}

fn seen(schedule: &Schedule, since: &str, last: Option<&str>) -> Remembered {
    let known = Remembered::new(schedule, time(since));
    match last {
        Some(last) => known.with_last(time(last), false),
        None => known,
    }
}

fn times(schedule: &Schedule, known: Option<&Remembered>, now: &str) -> Vec<String> {
    let found = due(schedule, &Timetable::new(schedule, []).unwrap(), known, time(now));
    found.times.iter().map(|at| at.format("%m-%d %H:%M").to_string()).collect()
}

#[test]
fn missed_times_are_caught_up_as_declared() {
    let all = schedule("0 6 * * *", "UTC");
    let known = seen(&all, "2024-01-01 00:00", Some("2024-01-05 06:00"));
    assert_eq!(times(&all, Some(&known), "2024-01-08 05:59"), ["01-06 06:00", "01-07 06:00"]);
    let last = Schedule { catch_up: CatchUp::Last, ..all.clone() };
    assert_eq!(times(&last, Some(&known), "2024-01-08 05:59"), ["01-07 06:00"]);
    let none = Schedule { catch_up: CatchUp::None, ..all.clone() };
    assert!(times(&none, Some(&known), "2024-01-08 05:59").is_empty());
    assert_eq!(times(&none, Some(&known), "2024-01-08 06:10"), ["01-08 06:00"]);
    // A ledger from two days before repeats what it does not know of; runs without new input change nothing.
    assert_eq!(
        times(&last, Some(&seen(&last, "2024-01-01 00:00", Some("2024-01-06 06:00"))), "2024-01-08 06:01"),
        ["01-08 06:00"]
    );
    let minutes = schedule("* * * * *", "UTC");
    assert_eq!(times(&minutes, Some(&seen(&minutes, "2024-01-01 00:00", None)), "2024-01-08 00:00").len(), MOST);
}

#[test]
fn a_new_changed_or_resumed_timetable_has_missed_nothing() {
    let daily = schedule("0 6 * * *", "UTC");
    assert!(times(&daily, None, "2024-01-08 12:00").is_empty());
    let changed = seen(&schedule("0 5 * * *", "UTC"), "2024-01-01 00:00", Some("2024-01-01 05:00"));
    assert!(times(&daily, Some(&changed), "2024-01-08 12:00").is_empty());
    let moved = seen(&schedule("0 6 * * *", "Asia/Tokyo"), "2024-01-01 00:00", None);
    assert!(times(&daily, Some(&moved), "2024-01-08 12:00").is_empty());
    // Paused for a year, then enabled again.
    let paused = Schedule { enabled: false, ..daily.clone() };
    let table = Timetable::new(&paused, []).unwrap();
    let before = seen(&daily, "2023-01-01 00:00", Some("2024-01-01 06:00"));
    let asleep = due(&paused, &table, Some(&before), time("2024-01-02 07:00"));
    assert!(asleep.times.is_empty() && !asleep.remembered.enabled);
    let again = due(&daily, &table, Some(&asleep.remembered), time("2025-01-02 07:00"));
    assert_eq!((again.times.len(), again.remembered.after()), (0, time("2025-01-02 07:00")));
    let next = due(&daily, &table, Some(&again.remembered), time("2025-01-03 06:00"));
    assert_eq!(next.times, [time("2025-01-03 06:00")]);
}

proptest! {
    /// Looks at any times run each time of the timetable once with `all`, in order; nothing after the last look, nothing before the first.
    #[test]
    fn looks_at_any_time_run_each_time_once(
        hour in 0_u32..24, step in 1_u32..7, start in 0_i64..31_536_000,
        looks in prop::collection::vec(1_i64..400_000, 1..20), zone in prop::sample::select(vec!["UTC", "America/New_York", "Australia/Lord_Howe", "Africa/Casablanca"]),
    ) {
        let schedule = schedule(&format!("17 {hour}-23/{step} * * *"), zone);
        let first = time("2023-01-01 00:00") + TimeDelta::seconds(start);
        let table = Timetable::new(&schedule, []).unwrap();
        let (mut now, mut known, mut ran) = (first, None::<Remembered>, Vec::new());
        for wait in std::iter::once(0).chain(looks) {
            now += TimeDelta::seconds(wait);
            loop {
                let found = due(&schedule, &table, known.as_ref(), now);
                let Some(&last) = found.times.last() else { known = Some(found.remembered); break };
                ran.extend(found.times);
                known = Some(found.remembered.with_last(last, false));
            }
        }
        // The model walks through all minutes, and knows of no cron.
        let zone: Tz = zone.parse().unwrap();
        let minutes = (0..).map(|n| first.with_second(0).unwrap() + TimeDelta::minutes(n)).take_while(|at| *at <= now);
        let mut days = std::collections::BTreeSet::new();
        let expected: Vec<DateTime<Utc>> = minutes.filter(|at| *at > first).filter(|at| {
            let local = at.with_timezone(&zone);
            let hours = (hour..24).step_by(step as usize);
            local.minute() == 17 && hours.into_iter().any(|h| h == local.hour())
                && days.insert((local.year(), local.ordinal(), local.hour()))
        }).collect();
        let is_change = |at: &DateTime<Utc>| {
            let offset = |days: i64| zone.offset_from_utc_datetime(&(*at + TimeDelta::days(days)).naive_utc()).to_string();
            offset(-1) != offset(1)
        };
        // Around a change of the clocks the rules above hold instead.
        let plain = |times: &[DateTime<Utc>]| times.iter().filter(|at| !is_change(at)).copied().collect::<Vec<_>>();
        prop_assert_eq!(plain(&ran), plain(&expected));
        prop_assert!(ran.is_sorted_by(|one, next| one < next));
    }
}

#[test]
fn times_of_a_table_are_those_after_its_stamps() {
    let sessions =
        Sessions { table: "silver.sessions".parse().unwrap(), column: "closes_at".to_owned(), delay_minutes: 30 };
    let close = Schedule { cron: None, sessions: Some(sessions), ..schedule("", "America/New_York") };
    assert_eq!(close.times(), "silver.sessions.closes_at +30 min");
    // The day after Thanksgiving closes at 13:00 in New York; the weekend and the holiday have no session.
    let closes = ["2024-11-27 21:00", "2024-11-29 18:00", "2024-12-02 21:00"].map(time);
    let table = Timetable::new(&close, closes).unwrap();
    assert_eq!(table.next(time("2024-11-27 21:30")), Some(time("2024-11-29 18:30")));
    assert_eq!(table.local(time("2024-11-29 18:30")), "2024-11-29 13:30 EST");
    assert_eq!(table.next(time("2024-12-02 21:30")), None);
    let known = seen(&close, "2024-11-01 00:00", Some("2024-11-27 21:30"));
    let at = |now: &str| due(&close, &table, Some(&known), time(now)).times;
    assert!(at("2024-11-29 18:29").is_empty());
    assert_eq!(at("2024-11-29 18:30"), [time("2024-11-29 18:30")]);
    assert_eq!(at("2024-12-03 00:00"), [time("2024-11-29 18:30"), time("2024-12-02 21:30")]);
    // A table that has another session since the last look has nothing else due.
    let more = Timetable::new(&close, closes.into_iter().chain([time("2024-12-03 21:00")])).unwrap();
    assert!(due(&close, &more, Some(&known), time("2024-11-29 18:29")).times.is_empty());
    // Another column or delay is another timetable.
    let later =
        Schedule { sessions: close.sessions.clone().map(|one| Sessions { delay_minutes: 60, ..one }), ..close.clone() };
    assert!(
        due(&later, &Timetable::new(&later, closes).unwrap(), Some(&known), time("2024-12-03 00:00")).times.is_empty()
    );
}

#[test]
fn a_schedule_has_one_source_of_times() {
    let none = Schedule { cron: None, ..schedule("", "UTC") };
    assert_eq!(Timetable::new(&none, []).unwrap_err().key, "cron");
    let sessions = Sessions { table: "silver.s".parse().unwrap(), column: "x".to_owned(), delay_minutes: 0 };
    let both = Schedule { sessions: Some(sessions), ..schedule("@daily", "UTC") };
    assert_eq!(Timetable::new(&both, []).unwrap_err().key, "sessions");
}

/// The ledger's object of a schedule, as builds wrote it that did not know whether a run failed.
#[test]
fn what_an_earlier_build_remembered_is_known() {
    let daily = schedule("0 6 * * *", "UTC");
    let stored = r#"{"cron":"0 6 * * *","time_zone":"UTC","enabled":true,"since":1704067200000,"last":1704434400000}"#;
    let known: Remembered = serde_json::from_str(stored).unwrap();
    assert_eq!(known, seen(&daily, "2024-01-01 00:00", Some("2024-01-05 06:00")));
    assert_eq!(times(&daily, Some(&known), "2024-01-06 07:00"), ["01-06 06:00"]);
}
