//! `/metrics`, on a port of its own: what the host counts of itself, for Prometheus. Owns its one route; must never be a part of the API,
//! nor stand on the port that clients reach, for it needs no key.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::HeaderName;
use axum::http::header;
use axum::routing::get;

use crate::instruments;
use crate::service::Monitor;

/// The route.
pub fn routes(monitor: Arc<Monitor>) -> Router {
    Router::new().route("/metrics", get(metrics)).with_state(monitor)
}

async fn metrics(State(monitor): State<Arc<Monitor>>) -> ([(HeaderName, &'static str); 1], String) {
    ([(header::CONTENT_TYPE, instruments::MEDIA_TYPE)], instruments::text(&monitor.sample()))
}
