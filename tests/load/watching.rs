//! Who watches a host: something that reads its metrics, and a collector that is sent its traces and logs and keeps nothing of them.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::routing::post;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::host::Host;

/// A collector of loopback.
pub struct Watched {
    endpoint: String,
    bodies: Arc<AtomicUsize>,
}

async fn take(State(bodies): State<Arc<AtomicUsize>>, _body: Bytes) {
    bodies.fetch_add(1, Ordering::Relaxed);
}

impl Watched {
    pub async fn start() -> Self {
        let bodies = Arc::new(AtomicUsize::new(0));
        let router = Router::new().route("/v1/traces", post(take)).route("/v1/logs", post(take));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let endpoint = format!("http://{}", listener.local_addr().expect("an address"));
        let router = router.with_state(Arc::clone(&bodies));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { endpoint, bodies }
    }

    /// What makes a host watched.
    pub fn settings(&self) -> [(&str, &str); 3] {
        [
            ("BLINDTUNE_METRICS__LISTEN", "127.0.0.1:0"),
            ("BLINDTUNE_OTLP__ENDPOINT", &self.endpoint),
            ("BLINDTUNE_OTLP__LOGS", "true"),
        ]
    }

    /// Requests that the collector took.
    pub fn bodies(&self) -> usize {
        self.bodies.load(Ordering::Relaxed)
    }

    /// Reads the host's metrics once a second, until aborted.
    pub fn scrape(&self, host: &Host) -> JoinHandle<()> {
        let log = host.log();
        let said =
            log.lines().find_map(|line| line.split_once("metrics for Prometheus are at ")).expect("said in the log");
        let url = said.1.trim().to_owned();
        tokio::spawn(async move {
            loop {
                let answer = reqwest::get(&url).await.expect("metrics are there");
                assert!(answer.status().is_success(), "{url}");
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        })
    }
}
