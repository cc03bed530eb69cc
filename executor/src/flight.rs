//! Hands shuffled rows out: Ballista's service, asked only for files below the work folder of jobs that a scheduler named.

use std::path::PathBuf;
use std::sync::Arc;

use arrow_flight::flight_service_server::FlightService;
use arrow_flight::{
    Action, ActionType, Criteria, Empty, FlightData, FlightDescriptor, FlightInfo, HandshakeRequest, HandshakeResponse,
    PollInfo, PutResult, SchemaResult, Ticket,
};
use async_trait::async_trait;
use ballista_core::serde::decode_protobuf;
use ballista_core::serde::scheduler::Action as Asked;
use ballista_executor::flight_service::BallistaFlightService;
use futures::TryStreamExt as _;
use futures::stream::BoxStream;
use tonic::{Request, Response, Status, Streaming};

use crate::job::{named, without_links};
use crate::metrics::Metrics;

type Answer<T> = Result<Response<T>, Status>;

/// Of rows, and of what says where in them each piece begins.
const ENDS: [&str; 3] = [".arrow", ".arrow.index", ".rangeidx.arrow"];

pub(crate) struct Shuffles {
    inner: BallistaFlightService,
    folder: PathBuf,
    metrics: Arc<Metrics>,
}

impl Shuffles {
    pub(crate) fn new(folder: PathBuf, metrics: Arc<Metrics>) -> Self {
        Self { inner: BallistaFlightService::new(folder.display().to_string()), folder, metrics }
    }

    /// Each file lies at `<job>/<stage>/<number>/<name>`.
    fn check(&self, asked: &[u8]) -> Result<(), Status> {
        let asked =
            decode_protobuf(asked).map_err(|_| Status::invalid_argument("no piece of a shuffle is asked for"))?;
        let Asked::FetchPartition { job_id, stage_id, partition_id, file_id, .. } = asked;
        named(job_id.as_str())?;
        // Which of the two numbers names the folder depends on the kind of shuffle.
        let numbers = [Some(partition_id.to_string()), file_id.map(|id| id.to_string())];
        for number in numbers.into_iter().flatten() {
            let names = [Some("data".to_owned()), file_id.map(|id| format!("data-{id}"))];
            let folder = [job_id.to_string(), stage_id.to_string(), number];
            without_links(&self.folder, &folder)?;
            let folder = self.folder.join(folder.join("/"));
            for file in names.into_iter().flatten().flat_map(|name| ENDS.map(|end| format!("{name}{end}"))) {
                without_links(&folder, &[file])?;
            }
        }
        Ok(())
    }
}

#[async_trait]
impl FlightService for Shuffles {
    type DoActionStream = <BallistaFlightService as FlightService>::DoActionStream;
    type DoExchangeStream = BoxStream<'static, Result<FlightData, Status>>;
    type DoGetStream = <BallistaFlightService as FlightService>::DoGetStream;
    type DoPutStream = BoxStream<'static, Result<PutResult, Status>>;
    type HandshakeStream = BoxStream<'static, Result<HandshakeResponse, Status>>;
    type ListActionsStream = BoxStream<'static, Result<ActionType, Status>>;
    type ListFlightsStream = BoxStream<'static, Result<FlightInfo, Status>>;

    async fn do_get(&self, request: Request<Ticket>) -> Answer<Self::DoGetStream> {
        self.check(&request.get_ref().ticket)?;
        let (answer, metrics) = (self.inner.do_get(request).await?, Arc::clone(&self.metrics));
        Ok(answer.map(|rows| Box::pin(rows.inspect_ok(move |piece| metrics.served(piece.data_body.len()))) as _))
    }

    async fn do_action(&self, request: Request<Action>) -> Answer<Self::DoActionStream> {
        self.check(&request.get_ref().body)?;
        let (answer, metrics) = (self.inner.do_action(request).await?, Arc::clone(&self.metrics));
        Ok(answer.map(|rows| Box::pin(rows.inspect_ok(move |piece| metrics.served(piece.body.len()))) as _))
    }

    async fn do_exchange(&self, _: Request<Streaming<FlightData>>) -> Answer<Self::DoExchangeStream> {
        Err(refused())
    }

    async fn do_put(&self, _: Request<Streaming<FlightData>>) -> Answer<Self::DoPutStream> {
        Err(refused())
    }

    async fn handshake(&self, _: Request<Streaming<HandshakeRequest>>) -> Answer<Self::HandshakeStream> {
        Err(refused())
    }

    async fn list_actions(&self, _: Request<Empty>) -> Answer<Self::ListActionsStream> {
        Err(refused())
    }

    async fn list_flights(&self, _: Request<Criteria>) -> Answer<Self::ListFlightsStream> {
        Err(refused())
    }

    async fn get_flight_info(&self, _: Request<FlightDescriptor>) -> Answer<FlightInfo> {
        Err(refused())
    }

    async fn poll_flight_info(&self, _: Request<FlightDescriptor>) -> Answer<PollInfo> {
        Err(refused())
    }

    async fn get_schema(&self, _: Request<FlightDescriptor>) -> Answer<SchemaResult> {
        Err(refused())
    }
}

fn refused() -> Status {
    Status::unimplemented("this port hands out shuffled rows")
}

#[cfg(test)]
mod tests {
    use arrow::array::{Int64Array, RecordBatch};
    use arrow::ipc::writer::StreamWriter;
    use ballista_core::serde::protobuf::{self, FetchPartition, action::ActionType};
    use prost::Message as _;

    use super::*;

    fn rows() -> Vec<u8> {
        let batch = RecordBatch::try_from_iter([("x", Arc::new(Int64Array::from(vec![7])) as _)]).unwrap();
        let mut writer = StreamWriter::try_new(Vec::new(), &batch.schema()).unwrap();
        writer.write(&batch).unwrap();
        writer.into_inner().unwrap()
    }

    fn asked(job: &str) -> Vec<u8> {
        let fetch =
            FetchPartition { job_id: job.to_owned(), stage_id: 1, partition_id: 2, ..FetchPartition::default() };
        protobuf::Action { settings: Vec::new(), action_type: Some(ActionType::FetchPartition(fetch)) }.encode_to_vec()
    }

    /// The bytes that both ways of asking bring.
    async fn fetched(shuffles: &Shuffles, job: &str) -> (Result<usize, Status>, Result<usize, Status>) {
        let action = Action { r#type: "IO_BLOCK_TRANSPORT".to_owned(), body: asked(job).into() };
        let blocks = async {
            let stream = shuffles.do_action(Request::new(action)).await?.into_inner();
            Ok(stream.try_collect::<Vec<_>>().await?.iter().map(|block| block.body.len()).sum())
        };
        let flights = async {
            let stream = shuffles.do_get(Request::new(Ticket { ticket: asked(job).into() })).await?.into_inner();
            Ok(stream.try_collect::<Vec<_>>().await?.iter().map(|data| data.data_body.len()).sum())
        };
        (blocks.await, flights.await)
    }

    #[tokio::test]
    async fn only_files_of_jobs_below_the_work_folder_are_handed_out() {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("work");
        let write = |place: &std::path::Path| {
            std::fs::create_dir_all(place.join("1/2")).unwrap();
            std::fs::write(place.join("1/2/data.arrow"), rows()).unwrap();
        };
        write(&folder.join("00aa-1"));
        let outside = parent.path().join("outside");
        write(&outside);
        std::os::unix::fs::symlink(&outside, folder.join("00aa-2")).unwrap();
        std::fs::create_dir_all(folder.join("00aa-3/1/2")).unwrap();
        std::os::unix::fs::symlink(outside.join("1/2/data.arrow"), folder.join("00aa-3/1/2/data.arrow")).unwrap();
        let process = pulse_metrics::Process::new("b".to_owned(), 1);
        let shuffles = Shuffles::new(folder, Arc::new(Metrics::new(1, 1, process).unwrap()));
        let (blocks, flights) = fetched(&shuffles, "00aa-1").await;
        assert!(blocks.unwrap() > 0 && flights.unwrap() > 0);
        let absolute = outside.display().to_string();
        for job in ["../outside", "./../outside", &absolute, "00aa-2", "00aa-3", ".", ""] {
            let (blocks, flights) = fetched(&shuffles, job).await;
            assert!(blocks.is_err(), "{job}");
            assert!(flights.is_err(), "{job}");
        }
    }
}
