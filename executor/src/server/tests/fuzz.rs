//! Messages of schedulers, mutated: a plan that pulse makes, or an error.

use prost::Message as _;

use super::*;
use tools::{fuzz, mutated};

#[path = "../../../../engine/src/fuzz.rs"]
mod tools;

/// Keys, lengths and numbers of a message.
const WORDS: &[&str] =
    &["\0", "\u{1}", "\u{8}\u{1}", "\u{a}\0", "\u{12}\u{7f}", "\u{7f}\u{7f}\u{7f}", "../", "/etc/passwd", "file:///"];

/// Without rows of `values`: arrow-ipc allocates the length that such rows claim to have.
#[test]
fn launches() {
    let work = tempfile::tempdir().unwrap();
    let secret = secret(work.path());
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let _within = runtime.enter();
    let (server, _ended) = server(work.path());
    let known: Vec<Vec<u8>> = [
        "select 7 as x",
        "select x, count(*) as n from generate_series(1, 9) v(x) where x > 1 group by x order by n desc limit 3",
        "select x, row_number() over (partition by x % 2 order by x) as r from generate_series(1, 9) v(x)",
        "select a.x from generate_series(1, 3) a(x) join generate_series(2, 5) b(x) on a.x = b.x union all select 5",
        "select column_1 from secret",
    ]
    .iter()
    .map(|sql| runtime.block_on(launch(sql, &secret, KEY)).encode_to_vec())
    .collect();
    let (mut taken, mut refused) = (0, 0);
    fuzz("launches", |random, tried| {
        let (one, other) = (random.of(&known), random.of(&known));
        let bytes = if random.below(20) == 0 { one.clone() } else { mutated(random, one, other, WORDS) };
        *tried = format!("{bytes:?}");
        let Ok(message) = LaunchMultiTaskParams::decode(&bytes[..]) else { return };
        for tasks in message.multi_tasks {
            match server.decode(tasks) {
                Ok(_) => taken += 1,
                Err(_) => refused += 1,
            }
        }
    });
    assert!(taken > 0 && refused > 0, "{taken} taken, {refused} refused");
}
