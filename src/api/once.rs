//! POSTs that are sent again. Owns how a repeat is told from a new request: by the Idempotency-Key header, or, for the stock
//! client's silent retries, by its retry count, the route and the body. A repeat has the same body: that of a form is compared by its
//! parts, which are hashed as they stream.

use std::sync::Arc;

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
use futures::StreamExt;
use serde::Serialize;
use sha2::Digest;
use sha2::Sha256;

use crate::api::checksums;
use crate::api::error::ApiError;
use crate::api::extract::ApiBytes;
use crate::api::extract::body_too_large;
use crate::api::extract::broken_off;
use crate::api::form_hash::hash_form;
use crate::api::pace::too_slow;
use crate::api::state::App;
use crate::domain::error_code::ErrorCode;
use crate::domain::limits::Limits;
use crate::domain::principal::Principal;
use crate::service::AnswerRecord;
use crate::service::BodyHash;
use crate::service::GivenAnswer;
use crate::service::Idempotency;
use crate::service::IdempotencyKey;
use crate::service::Repeat;
use crate::service::Reservation;
use crate::service::Reserved;
use crate::service::ServiceError;
use crate::service::with_the_same_wait;

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const RETRY_COUNT: HeaderName = HeaderName::from_static("x-stainless-retry-count");
const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");
/// An answer of this size is kept whole.
const ANSWER_BYTES: usize = 1024 * 1024;
/// What a form adds to the files in it.
const FORM_BYTES: u64 = 1024 * 1024;

/// The reservation of a request that may be repeated, if it is one: a handler makes of it what its use case writes down.
#[derive(Clone, Default)]
pub struct Once(Option<Reservation>);

impl<S: Sync> FromRequestParts<S> for Once {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        Ok(parts.extensions.get().cloned().unwrap_or_default())
    }
}

impl Once {
    /// A repeat gets this JSON, as the first answer has it.
    pub fn json<T, J: Serialize>(self, answer: impl Fn(&T) -> J + Send + Sync + 'static) -> AnswerRecord<T> {
        AnswerRecord::new(self.0, move |made| serde_json::to_vec(&answer(made)).map_err(ServiceError::internal))
    }

    /// A repeat is told that the thing was made: the first answer shows a secret, which must not be kept.
    pub fn secret<T>(self) -> AnswerRecord<T> {
        AnswerRecord::new(self.0, |_| Ok(Vec::new()))
    }
}

/// Carries a POST out, unless it is a repeat: then gives the first answer again.
pub async fn run(app: &App, caller: &Principal, path: &str, request: Request, next: Next) -> Response {
    let (request, key) = match identify(caller, path, request).await {
        Ok((request, Some(key))) => (request, key),
        Ok((request, None)) => return next.run(request).await,
        Err(refused) => return refused.into_response(),
    };
    match app.idempotency.reserve(key).await {
        Ok(Reserved::New(reservation)) => carry_out(app, reservation, request, next).await,
        Ok(Reserved::Answered(earlier)) => match read_over(&app.limits, request).await {
            Ok(()) => earlier.answer().map_or_else(|refused| ApiError::from(refused).into_response(), replay),
            Err(refused) => refused.into_response(),
        },
        Err(error) => ApiError::from(error).into_response(),
    }
}

/// What tells the request from others; `None` where nothing does.
async fn identify(
    caller: &Principal,
    path: &str,
    request: Request,
) -> Result<(Request, Option<IdempotencyKey>), ApiError> {
    checksums::of_request(request.headers())?; // what is none is refused, also beside a name that was used
    let name = request.headers().get(IDEMPOTENCY_KEY).map(|key| key.as_bytes().to_vec());
    if name.as_ref().is_some_and(|name| name.is_empty() || name.len() > 255) {
        let message = "Idempotency-Key: 1 to 255 characters.";
        let refused = ApiError::new(ErrorCode::InvalidIdempotencyKey, message);
        return Err(refused.at("Idempotency-Key"));
    }
    let repeat = match (&name, request.headers().get(RETRY_COUNT)) {
        (Some(_), _) => Repeat::Named,
        (None, Some(count)) if count.as_bytes() == b"0" => Repeat::SilentFirst,
        (None, Some(_)) => Repeat::SilentRetry,
        (None, None) => return Ok((request, None)),
    };
    let key = caller.key.0;
    let url = format!("{} {}", path, request.uri());
    let named = |name: &[u8]| hash(&[key.as_bytes(), url.as_bytes(), b"named", name]);
    let (request, token, body) = match (boundary(request.headers()), &name) {
        // Too large to be read twice; a second file harms nobody.
        (Some(_), None) => return Ok((request, None)),
        (Some(boundary), Some(name)) => {
            let body = BodyHash::default();
            (hash_form(request, &boundary, body.clone()), named(name), body)
        }
        (None, name) => {
            let (request, bytes) = whole(request).await?;
            let silent = || hash(&[key.as_bytes(), url.as_bytes(), b"silent", &bytes]);
            let token = name.as_ref().map_or_else(silent, |name| named(name));
            (request, token, BodyHash::of(hash(&[&bytes])))
        }
    };
    Ok((request, Some(IdempotencyKey { project: caller.project, token, body, repeat })))
}

/// What delimits the parts of a body that is a form.
fn boundary(headers: &HeaderMap) -> Option<String> {
    multer::parse_boundary(headers.get(header::CONTENT_TYPE)?.to_str().ok()?).ok()
}

/// Reads a body that nobody needs for anything but its hash.
async fn read_over(limits: &Limits, request: Request) -> Result<(), ApiError> {
    let largest = (limits.adapter_sets.saturating_mul(limits.tensor_body_bytes) as u64).max(limits.file_bytes);
    let mut left = largest.saturating_add(FORM_BYTES);
    let mut body = request.into_body().into_data_stream();
    while let Some(chunk) = body.next().await {
        let chunk = chunk.map_err(|error| too_slow(&error).map_or_else(broken_off, ApiError::from))?;
        left = left.checked_sub(chunk.len() as u64).ok_or_else(body_too_large)?;
    }
    Ok(())
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

/// Carries the request out to its end, even when the client goes away.
async fn carry_out(app: &App, reservation: Reservation, mut request: Request, next: Next) -> Response {
    request.extensions_mut().insert(Once(Some(reservation.clone())));
    let idempotency = Arc::clone(&app.idempotency);
    let work = async move {
        let answer = next.run(request).await;
        if reservation.is_answered_elsewhere() {
            return given_elsewhere(&idempotency, &reservation, answer).await;
        }
        keep(&idempotency, &reservation, answer).await
    };
    let span = tracing::Span::current();
    tokio::spawn(tracing::Instrument::instrument(with_the_same_wait(work), span)).await.unwrap_or_else(|_| failed())
}

/// Gives the answer that another host gave meanwhile; `refused` where it cannot be read.
async fn given_elsewhere(idempotency: &Idempotency, reservation: &Reservation, refused: Response) -> Response {
    match idempotency.given(reservation).await {
        Ok(Some(answer)) => replay(answer),
        Ok(None) => refused,
        Err(error) => ApiError::from(error).into_response(),
    }
}

/// Keeps the answer when it is a success. Where the request changed something, its use case has kept it already, in the transaction
/// of the change; what is left here are calls that may as well be carried out again.
async fn keep(idempotency: &Idempotency, reservation: &Reservation, answer: Response) -> Response {
    let (parts, body) = answer.into_parts();
    let Ok(body) = axum::body::to_bytes(body, ANSWER_BYTES).await else { return failed() };
    if parts.status.is_success() {
        let answer = GivenAnswer { status: parts.status.as_u16(), body: body.to_vec() };
        if let Err(error) = idempotency.keep(reservation, &answer).await {
            tracing::warn!(%error, "the answer could not be kept for a repeat: {error}");
        }
    }
    Response::from_parts(parts, Body::from(body))
}

fn failed() -> Response {
    let message = "The host could not complete the request.";
    ApiError::new(ErrorCode::InternalError, message).into_response()
}

fn replay(answer: GivenAnswer) -> Response {
    if answer.body.is_empty() {
        let message = "An earlier request made this; its secret was shown once and is not stored.";
        return ApiError::new(ErrorCode::AlreadyMade, message).at("Idempotency-Key").into_response();
    }
    let mut response = (StatusCode::from_u16(answer.status).unwrap_or_default(), answer.body).into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
    response
}
