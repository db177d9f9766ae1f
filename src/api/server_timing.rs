//! `Server-Timing` (W3C) of what the device works for. Owns its form, times in milliseconds; must never measure.

use std::time::Duration;

use axum::http::HeaderName;
use axum::http::HeaderValue;
use axum::response::Response;

/// The engine with its queue, and the device alone, which is billed.
pub fn engine_and_device(engine: Duration, device: Duration) -> String {
    format!("{}, {}", entry("engine", engine), entry("device", device))
}

/// One time.
pub fn entry(name: &str, took: Duration) -> String {
    format!("{name};dur={:.3}", took.as_secs_f64() * 1e3)
}

/// Puts the entries into an answer.
pub fn timed(mut response: Response, entries: &str) -> Response {
    if let Ok(value) = HeaderValue::from_str(entries) {
        response.headers_mut().insert(HeaderName::from_static("server-timing"), value);
    }
    response
}
