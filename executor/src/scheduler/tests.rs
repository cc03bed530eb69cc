use std::sync::Arc;

use axum::body::Bytes;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpListener;
use tonic::transport::Endpoint;

use super::*;

/// A scheduler that breaks so many connections after it has read from them, then refuses what it gets, and keeps it.
async fn scheduler(broken: usize) -> (Scheduler, Arc<Mutex<Vec<Bytes>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let got: Arc<Mutex<Vec<Bytes>>> = Arc::default();
    let keep = Arc::clone(&got);
    let answer = move |body: Bytes| async move {
        keep.lock().unwrap().push(body);
        Status::failed_precondition("as asked").into_http::<tonic::body::Body>()
    };
    tokio::spawn(async move {
        for _ in 0..broken {
            let mut connection = listener.accept().await.unwrap().0;
            connection.read_exact(&mut [0; 64]).await.unwrap();
        }
        axum::serve(listener, axum::Router::new().fallback(answer)).await.unwrap();
    });
    let client = SchedulerGrpcClient::new(Endpoint::from_shared(url).unwrap().connect_lazy());
    (Scheduler::new(client, ExecutorRegistration { id: "x".to_owned(), ..ExecutorRegistration::default() }), got)
}

fn report() -> UpdateTaskStatusParams {
    let task_status = vec![TaskStatus { job_id: "j".to_owned(), task_id: 7, ..TaskStatus::default() }];
    UpdateTaskStatusParams { executor_id: "x".to_owned(), task_status }
}

#[tokio::test]
async fn a_report_is_sent_until_it_is_answered() {
    let (broken, got) = scheduler(3).await;
    let (reports, ended) = mpsc::unbounded_channel();
    reports.send(report().task_status[0].clone()).unwrap();
    drop(reports);
    broken.reports(ended).await;
    assert_eq!(got.lock().unwrap().len(), 1);
    let (direct, got_directly) = scheduler(0).await;
    direct.client().update_task_status(report()).await.unwrap_err();
    assert_eq!(*got.lock().unwrap(), *got_directly.lock().unwrap());
}

#[tokio::test]
async fn a_heartbeat_is_sent_once() {
    let (broken, got) = scheduler(1).await;
    assert!(is_unanswered(&broken.beat().await.unwrap_err()));
    assert_eq!(got.lock().unwrap().len(), 0);
}

#[tokio::test]
async fn a_connection_that_breaks_is_no_answer_and_a_refusal_is_one() {
    let (broken, _) = scheduler(1).await;
    assert!(is_unanswered(&broken.register().await.unwrap_err()));
    assert!(!is_unanswered(&Status::invalid_argument("not the same binary")));
}

#[tokio::test]
async fn only_the_key_of_its_scheduler_is_known() {
    let (refusing, _) = scheduler(0).await;
    assert!(!refusing.is_known_by("").await, "before it is registered");
    let mut metadata = MetadataMap::new();
    metadata.insert(SCHEDULER_KEY, "k1".parse().unwrap());
    refusing.note(&metadata);
    assert!(refusing.is_known_by("k1").await);
    for other in ["", "k", "k2", "k11"] {
        assert!(!refusing.is_known_by(other).await, "{other}");
    }
}
