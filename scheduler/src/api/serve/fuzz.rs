//! Requests, mutated: each is answered or its connection is closed, none is let in without the token, and nothing panics.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::tests::started_with;
use crate::ledger::fuzz::tools::{fuzz, mutated};

const THREAD: &str = "fuzzed-api";
const REQUESTS: [&str; 4] = [
    "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n",
    "GET /runs HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer 0123456789abcdee\r\n\r\n",
    "POST /runs HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}",
    "POST /runs HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
];
const WORDS: &[&str] = &[
    "\r\n",
    "\n",
    "\r",
    " ",
    "\t",
    ":",
    "\0",
    "HTTP/1.0",
    "HTTP/2.0",
    "Content-Length: 99999999999999999999\r\n",
    "Content-Length: -1\r\n",
    "Transfer-Encoding: chunked\r\n",
    "ffffffffffffffff\r\n",
    "Authorization: Bearer \r\n",
    "Authorization: Basic Og==\r\n",
    "Expect: 100-continue\r\n",
    "Upgrade: h2c\r\nConnection: Upgrade\r\n",
    "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "/../",
    "%00",
    "%2e%2e/",
    "?",
    "#",
];

#[test]
fn requests() {
    let panics = Arc::new(AtomicU64::new(0));
    let (counted, before) = (Arc::clone(&panics), std::panic::take_hook());
    std::panic::set_hook(Box::new(move |panic| {
        if std::thread::current().name() == Some(THREAD) {
            counted.fetch_add(1, Ordering::Relaxed);
        }
        before(panic);
    }));
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).thread_name(THREAD).enable_all().build().unwrap();
    let address = runtime.block_on(async { tokio::spawn(started_with(u32::MAX)).await.unwrap() });
    fuzz("requests", |random, tried| {
        let (one, other) = (random.of(&REQUESTS).as_bytes(), random.of(&REQUESTS).as_bytes());
        let request = mutated(random, one, other, WORDS);
        *tried = String::from_utf8_lossy(&request).into_owned();
        let answer = answer(address, &request);
        // The port of a closed connection is taken for a minute, and there are 28,000.
        std::thread::sleep(Duration::from_millis(3));
        assert!(answer.is_empty() || answer.starts_with(b"HTTP/1."), "{:?}", String::from_utf8_lossy(&answer));
        assert!(!answer.ends_with(b"\r\n\r\nruns"), "let in without the token");
        assert_eq!(panics.load(Ordering::Relaxed), 0);
    });
    assert!(answer(address, REQUESTS[0].as_bytes()).starts_with(b"HTTP/1.1 200"), "it answers no more");
}

fn answer(address: SocketAddr, request: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    // It may be closed before all is sent, and reset while the answer is read.
    let _ = stream.write_all(request).and_then(|()| stream.shutdown(Shutdown::Write));
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    answer
}
