//! The accept loop. Owns sockets and their time limits; must never know a route.
//!
//! Our own instead of `axum::serve`, because a half-sent header would otherwise hold a socket, and a shutdown, for ever.

use std::future::Future;
use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use hyper_util::rt::TokioTimer;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;

use crate::api::connections::Connections;
use crate::api::write_pace::Paced;
use crate::api::write_pace::WritePace;

/// Limits on sockets.
#[derive(Debug, Clone)]
pub struct ServerSettings {
    /// Open sockets; more wait in the listen queue.
    pub max_connections: usize,
    /// And those from one address; 0: no bound. Those beyond are closed at once.
    pub per_address: usize,
    /// A request's headers must have come by then.
    pub header_timeout: Duration,
    /// How fast answers must be read.
    pub write_pace: WritePace,
    /// After the shutdown signal, requests in flight have this long.
    pub drain: Duration,
}

/// Serves `app` until `shutdown` resolves, then lets requests in flight finish for as long as `drain` says.
pub async fn serve(listener: TcpListener, app: Router, settings: ServerSettings, shutdown: impl Future<Output = ()>) {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(settings.header_timeout).keep_alive(true);
    let graceful = GracefulShutdown::new();
    let places = Arc::new(Semaphore::new(settings.max_connections));
    let connections = Connections::new(settings.per_address);
    let mut shutdown = std::pin::pin!(shutdown);
    let mut pause = Duration::from_millis(10);
    loop {
        // A shutdown must be heard even when every place is taken.
        let next = async {
            let place = Arc::clone(&places).acquire_owned().await;
            (place, listener.accept().await)
        };
        let (place, accepted) = tokio::select! {
            next = next => next,
            () = &mut shutdown => break,
        };
        let (stream, from) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted: {error}");
                tokio::time::sleep(pause).await; // out of file descriptors, most likely: give some back first
                pause = (pause * 2).min(Duration::from_secs(1));
                continue;
            }
        };
        pause = Duration::from_millis(10);
        let Some(counted) = connections.count(from.ip()) else {
            refuse(stream, &connections.refusal());
            continue;
        };
        let connection = connection(&http, stream, Serving { app: app.clone(), pace: settings.write_pace });
        let watched = graceful.watch(connection);
        tokio::spawn(async move {
            if let Err(error) = watched.await {
                tracing::debug!(%error, "a connection ended early: {error}");
            }
            drop((counted, place));
        });
    }
    drop(listener);
    if tokio::time::timeout(settings.drain, graceful.shutdown()).await.is_err() {
        tracing::warn!("some connections did not end in time and are cut");
    }
}

/// Says why, as far as the socket takes it at once, and closes it.
fn refuse(stream: TcpStream, answer: &[u8]) {
    let said = stream.into_std().and_then(|mut stream| stream.write_all(answer));
    tracing::debug!(said = said.is_ok(), "a connection was refused: its address has too many");
}

/// What a connection gets: the routes, and how fast it must read.
struct Serving {
    app: Router,
    pace: WritePace,
}

fn connection(
    http: &http1::Builder,
    stream: TcpStream,
    serving: Serving,
) -> http1::Connection<TokioIo<Paced<TcpStream>>, TowerToHyperService<Router>> {
    // Small answers must not wait for the next one to fill a packet.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "nodelay was refused: {error}");
    }
    http.serve_connection(TokioIo::new(Paced::new(stream, serving.pace)), TowerToHyperService::new(serving.app))
}
