//! A fake AWS service that returns scripted answers and records its requests.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use aws_config::retry::RetryConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_emr::config::{Credentials, SharedCredentialsProvider};
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

type Script = Arc<Mutex<Told>>;

#[derive(Default)]
struct Told {
    answers: VecDeque<(&'static str, u16, Value)>,
    asked: Vec<(String, Value)>,
}

pub(crate) struct Fake {
    told: Script,
    pub(crate) config: SdkConfig,
    serving: JoinHandle<()>,
}

impl Fake {
    /// Scripted answers in order: the expected action, the status and the body.
    pub(crate) async fn start(answers: impl IntoIterator<Item = (&'static str, u16, Value)>) -> Self {
        let told: Script = Arc::default();
        told.lock().unwrap().answers = answers.into_iter().collect();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new().fallback(answer).with_state(Arc::clone(&told));
        let serving = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        let config = SdkConfig::builder()
            .behavior_version(BehaviorVersion::v2026_01_12())
            .region(Region::new("us-east-1"))
            .endpoint_url(format!("http://{address}"))
            .credentials_provider(SharedCredentialsProvider::new(Credentials::for_tests()))
            .retry_config(RetryConfig::disabled())
            .build();
        Self { told, config, serving }
    }

    /// Recorded actions and bodies. Asserts that every answer was used.
    pub(crate) fn asked(&self) -> Vec<(String, Value)> {
        let told = self.told.lock().unwrap();
        assert!(told.answers.is_empty(), "never asked for: {:?}", told.answers);
        told.asked.clone()
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// An error answer of a service.
pub(crate) fn refusal(code: &str, message: &str) -> Value {
    json!({"__type": code, "Message": message, "message": message})
}

async fn answer(State(told): State<Script>, headers: HeaderMap, body: Bytes) -> (StatusCode, String) {
    let action = headers["x-amz-target"].to_str().unwrap().rsplit('.').next().unwrap().to_owned();
    let mut told = told.lock().unwrap();
    let next = told.answers.pop_front();
    told.asked.push((action.clone(), serde_json::from_slice(&body).unwrap()));
    match next {
        Some((expected, status, body)) if expected == action => {
            (StatusCode::from_u16(status).unwrap(), body.to_string())
        }
        other => {
            (StatusCode::BAD_REQUEST, refusal("Unexpected", &format!("{action} instead of {other:?}")).to_string())
        }
    }
}
