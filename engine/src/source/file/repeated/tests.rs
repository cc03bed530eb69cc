//! Random series, with every reading of them tried out.

use proptest::prelude::*;

use super::*;

const HOUR: i64 = 60;
/// The clock is set back from 120 to 60 at this instant: instants 60..120 and 120..180 both show 60..120.
const SET_BACK: i64 = 2 * HOUR;

/// What the clock shows.
fn wall(instant: i64) -> i64 {
    if instant < SET_BACK { instant } else { instant - HOUR }
}

/// Instants at which the clock shows this.
fn readings(shown: i64) -> Vec<i64> {
    match shown {
        ..HOUR => vec![shown],
        HOUR..SET_BACK => vec![shown, shown + HOUR],
        SET_BACK.. => vec![shown + HOUR],
    }
}

fn surveyed(walls: &[i64], strict: bool) -> Vec<Option<Occurrence>> {
    let mut survey = Survey::new(strict);
    for (line, wall) in (1..).zip(walls) {
        let readings = readings(*wall);
        survey.add((line, 0), 0, readings[0], readings.get(1).map(|second| second - readings[0]));
    }
    let found = survey.finish();
    (1..).zip(walls).map(|(line, _)| found.of(line, 0)).collect()
}

/// For each stamp that occurs twice, what it is in every reading in which the series ascends, or descends. Slow and plain.
fn model(walls: &[i64], strict: bool) -> Vec<Option<Occurrence>> {
    let mut all: Vec<Vec<i64>> = vec![Vec::new()];
    for wall in walls {
        let readings = readings(*wall);
        all = all.iter().flat_map(|head| readings.iter().map(|at| [head.clone(), vec![*at]].concat())).collect();
    }
    // Equal stamps mean two occurrences only where there are two.
    let follows = |a: i64, b: i64| a < b || (a == b && !(strict && readings(wall(a)).len() > 1));
    let ordered = |instants: &Vec<i64>| {
        instants.windows(2).all(|pair| follows(pair[0], pair[1]))
            || instants.windows(2).all(|pair| follows(pair[1], pair[0]))
    };
    let possible: Vec<Vec<i64>> = all.into_iter().filter(ordered).collect();
    let occurrence = |place: usize, wall: i64| {
        let readings = readings(wall);
        let first = possible.first().filter(|_| readings.len() > 1)?[place];
        let is_clear = possible.iter().all(|instants| instants[place] == first);
        is_clear.then_some(if first == readings[0] { Occurrence::First } else { Occurrence::Second })
    };
    walls.iter().enumerate().map(|(place, wall)| occurrence(place, *wall)).collect()
}

/// Mostly in order, as files are.
fn series() -> impl Strategy<Value = Vec<i64>> {
    let instants = prop::collection::vec((20..220_i64).prop_map(|at| at / 10 * 10), 0..9);
    (instants, 0_u8..4, prop::option::of((any::<prop::sample::Index>(), 20..160_i64))).prop_map(
        |(mut instants, order, odd)| {
            match order {
                0 => {}
                1 => instants.sort_by_key(|at| std::cmp::Reverse(*at)),
                _ => instants.sort_unstable(),
            }
            let mut walls: Vec<i64> = instants.into_iter().map(wall).collect();
            if let (Some((place, wall)), false) = (odd, walls.is_empty()) {
                let place = place.index(walls.len());
                walls[place] = wall / 10 * 10;
            }
            walls
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_decided_is_so_in_every_possible_reading(walls in series(), strict in any::<bool>()) {
        prop_assert_eq!(surveyed(&walls, strict), model(&walls, strict), "{:?}", walls);
    }
}

#[test]
fn series_are_told_apart() {
    use Occurrence::{First, Second};
    let mut survey = Survey::new(false);
    // The second series has the first occurrence only, which nothing shows.
    let rows = [(0, 50), (0, 60), (0, 70), (1, 50), (1, 60), (1, 130), (0, 60), (0, 70)];
    for (line, (series, wall)) in (1..).zip(rows) {
        let readings = readings(wall);
        survey.add((line, 0), series, readings[0], readings.get(1).map(|second| second - readings[0]));
    }
    let found = survey.finish();
    let found: Vec<Option<Occurrence>> = (1..).zip(rows).map(|(line, _)| found.of(line, 0)).collect();
    assert_eq!(found, [None, Some(First), Some(First), None, None, None, Some(Second), Some(Second)]);
}
