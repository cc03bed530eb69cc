//! Delivers reports of finished tasks to the scheduler despite broken connections. Ballista's own loop sends each
//! report once. It sends them to a local port of this process, which resends them until they are answered. The
//! scheduler counts each once.

use std::future::poll_fn;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::State;
use axum::http::request::Parts;
use axum::http::{Request, Response};
use ballista_core::extension::EndpointOverrideFn;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tonic::Status;
use tonic::codegen::Service as _;
use tonic::transport::{Channel, Endpoint};

/// gRPC path suffix of status reports. Only these are resent; a failed heartbeat is how we detect a lost scheduler.
const REPORT: &str = "/UpdateTaskStatus";
/// Delay between attempts.
const AGAIN: Duration = Duration::from_millis(200);

/// Forwards requests sent to `address` until it is dropped.
pub(crate) struct Reports {
    address: SocketAddr,
    passing: JoinHandle<()>,
}

impl Reports {
    /// # Errors
    /// If no port is free.
    pub(crate) async fn listen(scheduler: Channel, message_bytes: usize) -> std::io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let routes = axum::Router::new().fallback(pass_on).with_state((scheduler, message_bytes));
        let passing = tokio::spawn(async move {
            if let Err(error) = axum::serve(listener, routes).await {
                log::error!("reports are not passed on any more: {error}");
            }
        });
        Ok(Self { address, passing })
    }

    /// Makes Ballista send reports here.
    pub(crate) fn instead(&self) -> EndpointOverrideFn {
        let url = format!("http://{}", self.address);
        Arc::new(move |_| Ok(Endpoint::from_shared(url.clone())?))
    }
}

impl Drop for Reports {
    fn drop(&mut self) {
        self.passing.abort();
    }
}

async fn pass_on(
    State((scheduler, message_bytes)): State<(Channel, usize)>,
    request: Request<Body>,
) -> Response<tonic::body::Body> {
    let (head, body) = request.into_parts();
    let body = match to_bytes(body, message_bytes).await {
        Ok(body) => body,
        Err(error) => return Status::out_of_range(format!("a report cannot be read: {error}")).into_http(),
    };
    loop {
        match send(scheduler.clone(), &head, &body).await {
            Ok(answer) => return answer,
            Err(error) if head.uri.path().ends_with(REPORT) => {
                log::warn!("the scheduler did not answer a report of ended tasks, which is sent again: {error}");
                tokio::time::sleep(AGAIN).await;
            }
            Err(error) => return Status::unavailable(error.to_string()).into_http(),
        }
    }
}

async fn send(
    mut scheduler: Channel,
    head: &Parts,
    body: &Bytes,
) -> Result<Response<tonic::body::Body>, tonic::transport::Error> {
    let request = Request::from_parts(head.clone(), tonic::body::Body::new(Body::from(body.clone())));
    poll_fn(|cx| scheduler.poll_ready(cx)).await?;
    scheduler.call(request).await
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use ballista_core::serde::protobuf::scheduler_grpc_client::SchedulerGrpcClient;
    use ballista_core::serde::protobuf::{HeartBeatParams, TaskStatus, UpdateTaskStatusParams};
    use tokio::io::AsyncReadExt as _;
    use tonic::Code;

    use super::*;

    /// A scheduler that breaks `broken` connections after reading from them, then answers with an error, and records
    /// all requests.
    async fn scheduler(broken: usize) -> (Channel, Arc<Mutex<Vec<Bytes>>>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let got: Arc<Mutex<Vec<Bytes>>> = Arc::default();
        let keep = Arc::clone(&got);
        let answer = move |body: Bytes| async move {
            keep.lock().unwrap().push(body);
            Status::failed_precondition("told").into_http::<tonic::body::Body>()
        };
        tokio::spawn(async move {
            for _ in 0..broken {
                let mut connection = listener.accept().await.unwrap().0;
                connection.read_exact(&mut [0; 64]).await.unwrap();
            }
            axum::serve(listener, axum::Router::new().fallback(answer)).await.unwrap();
        });
        (Endpoint::from_shared(url).unwrap().connect_lazy(), got)
    }

    async fn client(reports: &Reports) -> SchedulerGrpcClient<Channel> {
        let endpoint = reports.instead()(Endpoint::from_static("http://elsewhere:1")).unwrap();
        SchedulerGrpcClient::new(endpoint.connect().await.unwrap())
    }

    fn report() -> UpdateTaskStatusParams {
        let task_status = vec![TaskStatus { job_id: "j".to_owned(), task_id: 7, ..TaskStatus::default() }];
        UpdateTaskStatusParams { executor_id: "x".to_owned(), task_status }
    }

    #[tokio::test]
    async fn a_report_is_sent_until_it_is_answered() {
        let (scheduler, got) = scheduler(3).await;
        let reports = Reports::listen(scheduler, 1 << 20).await.unwrap();
        let answer = client(&reports).await.update_task_status(report()).await.unwrap_err();
        assert_eq!((answer.code(), answer.message()), (Code::FailedPrecondition, "told"), "the scheduler's own answer");
        assert_eq!(got.lock().unwrap().len(), 1);
        let (direct, got_directly) = self::scheduler(0).await;
        SchedulerGrpcClient::new(direct).update_task_status(report()).await.unwrap_err();
        assert_eq!(*got.lock().unwrap(), *got_directly.lock().unwrap());
    }

    #[tokio::test]
    async fn a_heartbeat_is_sent_once() {
        let (scheduler, got) = scheduler(1).await;
        let reports = Reports::listen(scheduler, 1 << 20).await.unwrap();
        let answer = client(&reports).await.heart_beat_from_executor(HeartBeatParams::default()).await;
        assert_eq!(answer.unwrap_err().code(), Code::Unavailable);
        assert_eq!(got.lock().unwrap().len(), 0);
    }
}
