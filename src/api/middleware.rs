//! The stack of layers around the routes, outermost first. Owns request ids, load shedding, time and size limits, and what
//! every answer carries; must never know what a route does.

use std::any::Any;
use std::path::PathBuf;
use std::time::Duration;
use std::time::Instant;

use axum::Router;
use axum::body::Body;
use axum::error_handling::HandleErrorLayer;
use axum::extract::DefaultBodyLimit;
use axum::extract::MatchedPath;
use axum::extract::Request;
use axum::extract::State;
use axum::http::HeaderName;
use axum::http::HeaderValue;
use axum::http::Method;
use axum::http::header;
use axum::middleware::Next;
use axum::middleware::from_fn;
use axum::middleware::from_fn_with_state;
use axum::middleware::map_request;
use axum::response::IntoResponse;
use axum::response::Response;
use futures::Stream;
use futures::StreamExt;
use tower::BoxError;
use tower::ServiceBuilder;
use tower::limit::GlobalConcurrencyLimitLayer;
use tower::load_shed::LoadShedLayer;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::request_id::MakeRequestUuid;
use tower_http::request_id::PropagateRequestIdLayer;
use tower_http::request_id::SetRequestIdLayer;
use tower_http::sensitive_headers::SetSensitiveRequestHeadersLayer;
use tower_http::trace::TraceLayer;

use crate::api::error::ApiError;
use crate::api::extract::body_too_large;
use crate::api::gate::REQUEST_ID;
use crate::api::pace::Pace;
use crate::api::pace::keep_pace;
use crate::domain::error_code::ErrorCode;
use crate::instruments;
use crate::instruments::Answered;
use crate::instruments::traces;

/// A caller's own request id is taken up to this length; a longer one is replaced.
const LONGEST_REQUEST_ID: usize = 128;
/// A refused body is read on for this long.
const LONGEST_DRAIN: Duration = Duration::from_secs(2);

/// Sizes and times of the stack.
#[derive(Debug, Clone)]
pub struct StackSettings {
    /// Requests being worked on; more are answered 503.
    pub max_requests_in_flight: usize,
    /// How fast bodies must come.
    pub pace: Pace,
    /// A control request is answered by then.
    pub control_timeout: Duration,
    /// Whether there is a console.
    pub console: bool,
    /// The folder of the documentation's site, where it is served.
    pub docs: Option<PathBuf>,
}

/// Sheds load: more than the set number of requests at once are answered 503 with Retry-After. Not for health checks.
pub fn shed_load(router: Router, settings: &StackSettings) -> Router {
    let layers = ServiceBuilder::new()
        .layer(HandleErrorLayer::new(overloaded))
        .layer(LoadShedLayer::new())
        .layer(GlobalConcurrencyLimitLayer::new(settings.max_requests_in_flight))
        .layer(from_fn_with_state(settings.pace, keep_pace));
    router.layer(layers)
}

async fn overloaded(_: BoxError) -> ApiError {
    ApiError::new(ErrorCode::Overloaded, "The host is busy; try again.")
}

/// What surrounds everything: request id first, so that logs, panics and errors all carry it.
pub fn surround(router: Router) -> Router {
    let layers = ServiceBuilder::new()
        .layer(map_request(without_odd_id))
        .layer(SetRequestIdLayer::new(REQUEST_ID, MakeRequestUuid))
        .layer(SetSensitiveRequestHeadersLayer::new([header::AUTHORIZATION, header::COOKIE]))
        .layer(TraceLayer::new_for_http().make_span_with(span))
        .layer(PropagateRequestIdLayer::new(REQUEST_ID))
        .layer(from_fn(stamp))
        .layer(CatchPanicLayer::custom(panicked));
    router.layer(layers)
}

/// Drops a caller's request id that is too long or no printable text: it goes into every line of the log about the request.
async fn without_odd_id(mut request: Request) -> Request {
    let is_odd = |id: &HeaderValue| id.len() > LONGEST_REQUEST_ID || id.to_str().is_err();
    if request.headers().get_all(REQUEST_ID).iter().any(is_odd) {
        request.headers_mut().remove(REQUEST_ID);
    }
    request
}

fn span(request: &Request<Body>) -> tracing::Span {
    let header = |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok());
    let id = header(REQUEST_ID.as_str()).unwrap_or_default();
    traces::request(id, request.method().as_str(), request.uri().path(), header)
}

fn panicked(_: Box<dyn Any + Send + 'static>) -> Response {
    tracing::error!("a handler panicked");
    instruments::panicked();
    ApiError::new(ErrorCode::InternalError, "The host could not complete the request.").into_response()
}

async fn stamp(request: Request, next: Next) -> Response {
    let start = Instant::now();
    let (method, route) = (method_name(request.method()), request.extensions().get::<MatchedPath>().cloned());
    let mut response = next.run(request).await;
    let took = start.elapsed();
    let status = response.status().as_u16();
    let route = route.as_ref().map_or("other", MatchedPath::as_str);
    instruments::answered(&Answered { method, route, status, took });
    traces::answered(method, route, status);
    let took = took.as_millis();
    tracing::info!(status, duration_ms = took as u64, "answered {status} in {took} ms");
    let headers = response.headers_mut();
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    headers.insert(HeaderName::from_static("openai-processing-ms"), HeaderValue::from(took as u64));
    response
}

/// What anybody can make up is one name: metrics must not grow with it.
fn method_name(method: &Method) -> &'static str {
    const KNOWN: [&str; 7] = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"];
    KNOWN.into_iter().find(|known| *known == method.as_str()).unwrap_or("other")
}

/// Bounds bodies: refused at once when the length is announced, and cut off when it is not.
pub fn limit_body<S: Clone + Send + Sync + 'static>(router: Router<S>, bytes: usize) -> Router<S> {
    router.layer(DefaultBodyLimit::max(bytes)).layer(from_fn_with_state(bytes as u64, refuse_early))
}

async fn refuse_early(State(limit): State<u64>, request: Request, next: Next) -> Response {
    let announced =
        request.headers().get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|bytes| bytes > limit) {
        if !request.headers().contains_key(header::EXPECT) {
            drain(request.into_body().into_data_stream()).await;
        }
        return body_too_large().into_response();
    }
    next.run(request).await
}

/// Reads a refused body on for a moment: a client that is still sending would see a reset connection instead of our answer.
pub async fn drain<T, E>(body: impl Stream<Item = Result<T, E>>) {
    let mut body = std::pin::pin!(body);
    let rest = async { while let Some(Ok(_)) = body.next().await {} };
    let _ = tokio::time::timeout(LONGEST_DRAIN, rest).await;
}

/// Bounds the time of control requests. Never on the data plane: a step lives on the engine, and a time-out must not cancel it.
pub fn limit_time<S: Clone + Send + Sync + 'static>(router: Router<S>, limit: Duration) -> Router<S> {
    router.layer(from_fn_with_state(limit, in_time))
}

async fn in_time(State(limit): State<Duration>, request: Request, next: Next) -> Response {
    match tokio::time::timeout(limit, next.run(request)).await {
        Ok(response) => response,
        Err(_) => ApiError::new(ErrorCode::Timeout, "The request took too long.").into_response(),
    }
}
