//! What else may listen where a client looks for the scheduler.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::process::Stdio;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use crate::submissions::Cluster;
use crate::support::Scene;

const TOKEN: &str = "0123456789abcdef-CANARY";
const PATIENCE: Duration = Duration::from_secs(30);

/// Takes a port, answers every caller, and gives away what they said.
fn squatter() -> (u16, Receiver<Vec<u8>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (sender, heard) = channel();
    std::thread::spawn(move || {
        while let Ok((mut stream, _)) = listener.accept() {
            stream.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
            let (mut said, mut part) = (Vec::new(), [0; 4096]);
            while let Ok(bytes @ 1..) = stream.read(&mut part) {
                said.extend_from_slice(&part[..bytes]);
            }
            let body = r#"{"trigger":"20260101T000000-00000000"}"#;
            let head = format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}", body.len());
            let _ = stream.write_all(format!("{head}\r\nconnection: close\r\n\r\n{body}").as_bytes());
            if sender.send(said).is_err() {
                return;
            }
        }
    });
    (port, heard)
}

#[test]
fn what_took_the_schedulers_port_learns_nothing() {
    let scene = Scene::shipped();
    let state = scene.path("state");
    let own: &[(&str, &str)] = &[];
    let token: &[(&str, &str)] = &[("PULSE_API_TOKEN_SOURCE", "env:GIVEN"), ("GIVEN", TOKEN)];
    for (variables, words) in [(own, "no scheduler of this account"), (token, "does not know this token")] {
        let (port, heard) = squatter();
        let mut submit = scene.command(&["submit", "--all"]);
        submit.env("XDG_STATE_HOME", &state).env("PULSE_API_PORT", port.to_string()).envs(variables.iter().copied());
        scene.start(submit).wait().fails(2, &[&format!("127.0.0.1:{port}"), words, "nothing was sent"]);
        let said: Vec<u8> = heard.recv_timeout(PATIENCE).into_iter().chain(heard.try_iter()).flatten().collect();
        assert!(!said.is_empty());
        let text = String::from_utf8_lossy(&said);
        let secrets = std::fs::read_dir(state.join("pulse/this-machine")).into_iter().flatten();
        let secrets = secrets.map(|file| std::fs::read_to_string(file.unwrap().path()).unwrap());
        for secret in secrets.chain([TOKEN.to_owned(), "Bearer".to_owned(), "bars".to_owned()]) {
            assert!(!text.contains(secret.trim()), "{text}");
        }
    }
}

#[test]
fn who_knows_the_token_submits_from_any_account_and_believes_no_other() {
    let scene = Scene::shipped();
    let (theirs, mine) = (scene.path("theirs"), scene.path("mine"));
    let token = ["PULSE_API_TOKEN_SOURCE", "GIVEN"];
    let given = [(token[0], "env:GIVEN"), (token[1], TOKEN)];
    let variables = [given[0], given[1], ("XDG_STATE_HOME", theirs.to_str().unwrap())];
    let cluster = Cluster::start_for_all(&scene, &variables);
    let submit = |variables: &[(&str, &str)]| {
        let mut submit = scene.command(&["submit", "bronze.bars_1d", "--wait"]);
        cluster.reach(&mut submit);
        submit.env("XDG_STATE_HOME", &mine).envs(variables.iter().copied());
        scene.start(submit).wait()
    };
    submit(&[]).fails(2, &["no scheduler of this account", "`api_token_source` must lead to"]);
    submit(&[(token[0], "env:GIVEN"), (token[1], "0123456789abcdef-OTHER")]).fails(2, &["does not know this token"]);
    submit(&given).ok();
    // Clients that are not pulse's send the token themselves.
    let ask = |header: &str| {
        cluster.asked(&format!(
            "GET /runs/20260101T000000-00000000 HTTP/1.1\r\nHost: x\r\n{header}Connection: close\r\n\r\n"
        ))
    };
    assert_eq!(ask(""), "401");
    assert_eq!(ask("Authorization: Bearer 0123456789abcdef-OTHER\r\n"), "401");
    assert_eq!(ask(&format!("Authorization: Bearer {TOKEN}\r\n")), "404");
}

#[test]
fn an_api_that_everybody_reaches_says_so_when_it_starts() {
    let scene = Scene::shipped();
    let token = scene.path("token");
    std::fs::write(&token, TOKEN).unwrap();
    let source = format!("api_token_source=file:{}", token.display());
    for (settings, words) in [
        (
            vec!["insecure_cluster_anyone_can_run_code=true"],
            ["can submit jobs", "insecure_cluster_anyone_can_run_code"],
        ),
        (vec!["insecure_api_token_in_the_clear=true", &source], ["plain HTTP", "insecure_api_token_in_the_clear"]),
    ] {
        let ports = ["scheduler_port=0", "api_port=0", "api_host=0.0.0.0"];
        let settings = ports.into_iter().chain(settings).flat_map(|setting| ["--set", setting]);
        let arguments: Vec<&str> = settings.chain(["serve", "scheduler"]).collect();
        let mut command = scene.command(&arguments);
        command.stdin(Stdio::null());
        let mut running = scene.start(command);
        let began = Instant::now();
        while !running.read("stderr").contains("submissions at") {
            assert!(began.elapsed() < PATIENCE, "{}", running.read("stderr"));
            std::thread::sleep(Duration::from_millis(20));
        }
        running.child.kill().unwrap();
        let said = running.read("stderr");
        drop(running.wait());
        for word in words {
            assert!(said.contains(word), "{said}");
        }
    }
}
