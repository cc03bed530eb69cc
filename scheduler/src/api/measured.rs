//! `GET /metrics`, and the calls that it counts.

use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::extract::{MatchedPath, Request, State};
use axum::http::header::CONTENT_TYPE;
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};

use super::{Api, refusal};
use crate::metrics::Metrics;

/// Of paths that do not exist: those that strangers ask for have no end.
const NO_ROUTE: &str = "other";

/// Around all of `router`, so that refusals count too.
pub fn measured(router: Router, api: &Api) -> Router {
    counted(router, api.metrics())
}

fn counted(router: Router, metrics: Arc<Metrics>) -> Router {
    router.layer(from_fn_with_state(metrics, count))
}

async fn count(State(metrics): State<Arc<Metrics>>, request: Request, next: Next) -> Response {
    let route = request.extensions().get::<MatchedPath>().cloned();
    let began = Instant::now();
    let response = next.run(request).await;
    let route = route.as_ref().map_or(NO_ROUTE, MatchedPath::as_str);
    metrics.answered(route, response.status().as_u16(), began.elapsed());
    response
}

pub(super) async fn scrape(State(api): State<Arc<Api>>) -> Response {
    match api.metrics().encode(&api.scene().await) {
        Ok(text) => ([(CONTENT_TYPE, pulse_metrics::CONTENT_TYPE)], text).into_response(),
        Err(error) => refusal(&error).into_response(),
    }
}

#[cfg(test)]
mod tests {
    use axum::routing::get;
    use pulse_core::settings::Settings;
    use pulse_metrics::Process;
    use pulse_metrics::text::Scraped;
    use pulse_transport::{Shown, incoming};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::{TcpListener, TcpStream};

    use super::super::auth::{Asks, Token, protect};
    use super::super::serve::serve;
    use super::*;
    use crate::metrics::Scene;

    const TOKEN: &str = "0123456789abcdef";

    #[tokio::test]
    async fn calls_count_by_route_and_never_by_path() {
        let metrics = Metrics::new(&Settings::default(), Process::new("b".to_owned(), 1)).unwrap();
        let metrics = Arc::new(metrics);
        let routes = Router::new().route("/runs/{trigger}", get(|| async { "run" }));
        let router = protect(routes, Asks::Token(Token::new(TOKEN).unwrap()), 1000);
        let router = counted(router, Arc::clone(&metrics));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(serve(incoming(listener, Shown::Nothing), router, std::future::pending()));
        for (path, token) in
            [("/runs/a", TOKEN), ("/runs/b", TOKEN), ("/runs/c", "wrong"), ("/x/1", TOKEN), ("/x/2", "")]
        {
            let mut stream = TcpStream::connect(address).await.unwrap();
            let head =
                format!("GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n\r\n");
            stream.write_all(head.as_bytes()).await.unwrap();
            stream.read_to_end(&mut Vec::new()).await.unwrap();
        }
        let shown = Scraped::parse(&metrics.encode(&Scene::default()).unwrap()).unwrap();
        let calls: Vec<(&str, &str, f64)> = shown
            .samples
            .iter()
            .filter(|sample| sample.name == "pulse_api_requests_total")
            .map(|sample| (sample.labels["route"].as_str(), sample.labels["status"].as_str(), sample.value))
            .collect();
        let expected = [("/runs/{trigger}", "2xx", 2.0), ("/runs/{trigger}", "4xx", 1.0), ("other", "4xx", 2.0)];
        assert_eq!(calls.len(), 3, "{calls:?}");
        assert!(expected.iter().all(|call| calls.contains(call)), "{calls:?}");
    }
}
