//! POSTs that are sent again. Owns how a repeat is told from a new request: by the Idempotency-Key header, or, for the stock
//! client's silent retries, by its retry count, the route and the body.

use axum::body::Body;
use axum::body::Bytes;
use axum::extract::FromRequest;
use axum::extract::FromRequestParts;
use axum::extract::Request;
use axum::http::HeaderMap;
use axum::http::HeaderName;
use axum::http::HeaderValue;
use axum::http::StatusCode;
use axum::http::header;
use axum::http::request::Parts;
use axum::middleware::Next;
use axum::response::IntoResponse;
use axum::response::Response;
use sha2::Digest;
use sha2::Sha256;
use uuid::Uuid;

use crate::api::App;
use crate::api::error::ApiError;
use crate::api::extract::ApiBytes;
use crate::domain::error_code::ErrorCode;
use crate::domain::principal::Principal;
use crate::service::Begun;
use crate::service::Once;
use crate::service::Repeat;
use crate::service::Ticket;

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const RETRY_COUNT: HeaderName = HeaderName::from_static("x-stainless-retry-count");
const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");
/// An answer of this size is kept whole.
const ANSWER_BYTES: usize = 1024 * 1024;

/// Id of what the request makes: the same for every repeat of it.
#[derive(Debug, Clone, Copy)]
pub struct NewId(pub Uuid);

impl<S: Sync> FromRequestParts<S> for NewId {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        Ok(parts.extensions.get().copied().unwrap_or_else(|| Self(Uuid::now_v7())))
    }
}

/// Marks an answer that shows a secret: it must not be kept.
#[derive(Debug, Clone, Copy)]
pub struct ShowsSecret;

/// Carries a POST out, unless it is a repeat: then gives the first answer again.
pub async fn run(app: &App, caller: &Principal, path: &str, request: Request, next: Next) -> Response {
    let named = request.headers().get(IDEMPOTENCY_KEY).map(|key| key.as_bytes().to_vec());
    let again = request.headers().get(RETRY_COUNT).map(|count| count.as_bytes() != b"0");
    let repeat = match (&named, again) {
        (Some(key), _) if key.is_empty() || key.len() > 255 => {
            let message = "Idempotency-Key: 1 to 255 characters.";
            return ApiError::new(ErrorCode::InvalidIdempotencyKey, message).at("Idempotency-Key").into_response();
        }
        (Some(_), _) => Repeat::Named,
        (None, Some(again)) => Repeat::Silent { again },
        (None, None) => return next.run(request).await,
    };
    let is_form = is_form(request.headers());
    if is_form && named.is_none() {
        return next.run(request).await; // too large to be compared; a second file harms nobody
    }
    let url = format!("{} {}", path, request.uri());
    let (request, body) = match is_form {
        // Too large to be read before it is handled: known by its length.
        true => {
            let length = request.headers().get(header::CONTENT_LENGTH).map(HeaderValue::as_bytes).unwrap_or_default();
            let length = Bytes::copy_from_slice(length);
            (request, length)
        }
        false => match whole(request).await {
            Ok(whole) => whole,
            Err(refused) => return refused.into_response(),
        },
    };
    let key = caller.key.0;
    let token = match &named {
        Some(name) => hash(&[key.as_bytes(), url.as_bytes(), b"named", name]),
        None => hash(&[key.as_bytes(), url.as_bytes(), b"silent", &body]),
    };
    let once = Once { project: caller.project, token, body: hash(&[&body]) };
    match app.requests.begin(once, repeat).await {
        Ok(Begun::Fresh(ticket)) => carry_out(app, ticket, request, next).await,
        Ok(Begun::Untracked) => next.run(request).await,
        Ok(Begun::Known { status, answer }) => replay(status, answer),
        Err(error) => ApiError::from(error).into_response(),
    }
}

fn is_form(headers: &HeaderMap) -> bool {
    let media = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    media.to_ascii_lowercase().starts_with("multipart/")
}

async fn whole(request: Request) -> Result<(Request, Bytes), ApiError> {
    let (parts, body) = request.into_parts();
    let ApiBytes(bytes) = ApiBytes::from_request(Request::from_parts(parts.clone(), body), &()).await?;
    Ok((Request::from_parts(parts, Body::from(bytes.clone())), bytes))
}

fn hash(parts: &[&[u8]]) -> [u8; 32] {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update((part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    hasher.finalize().into()
}

/// Carries the request out to its end, even when the client goes away, and keeps the answer when it is a success.
async fn carry_out(app: &App, ticket: Ticket, mut request: Request, next: Next) -> Response {
    request.extensions_mut().insert(NewId(ticket.resource));
    let requests = app.requests.clone();
    let work = async move {
        let answer = tokio::select! {
            answer = next.run(request) => answer,
            never = requests.keep(&ticket) => match never {},
        };
        let (parts, body) = answer.into_parts();
        let body = axum::body::to_bytes(body, ANSWER_BYTES).await;
        let kept = match &body {
            Ok(body) if parts.status.is_success() => {
                let answer = if parts.extensions.get::<ShowsSecret>().is_some() { &b""[..] } else { body };
                requests.finish(&ticket, parts.status.as_u16(), answer).await
            }
            _ => requests.abandon(&ticket).await,
        };
        if let Err(error) = kept {
            tracing::warn!(%error, "the answer could not be kept for a repeat: {error}");
        }
        body.map(|body| Response::from_parts(parts, Body::from(body)))
    };
    let span = tracing::Span::current();
    match tokio::spawn(tracing::Instrument::instrument(work, span)).await {
        Ok(Ok(response)) => response,
        _ => ApiError::new(ErrorCode::InternalError, "The host could not complete the request.").into_response(),
    }
}

fn replay(status: u16, answer: Vec<u8>) -> Response {
    if answer.is_empty() {
        let message = "This was made by an earlier request; its secret was shown once and is not kept.";
        return ApiError::new(ErrorCode::AlreadyMade, message).at("Idempotency-Key").into_response();
    }
    let mut response = (StatusCode::from_u16(status).unwrap_or_default(), answer).into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
    response
}
