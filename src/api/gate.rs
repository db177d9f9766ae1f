//! What every call with a key goes through: the key is checked, rates and budgets are enforced and shown, and changes are written
//! into the audit log. Owns which operation is of which kind; must never know what an operation does.

use std::collections::HashMap;
use std::sync::Arc;

use axum::body::Body;
use axum::body::Bytes;
use axum::extract::MatchedPath;
use axum::extract::RawPathParams;
use axum::extract::Request;
use axum::extract::State;
use axum::extract::rejection::RawPathParamsRejection;
use axum::http::HeaderMap;
use axum::http::HeaderName;
use axum::http::HeaderValue;
use axum::http::Method;
use axum::http::StatusCode;
use axum::http::Uri;
use axum::middleware::Next;
use axum::response::IntoResponse;
use axum::response::Response;
use serde::Deserialize;
use utoipa::openapi::OpenApi;
use utoipa::openapi::path::Operation;

use crate::api::App;
use crate::api::auth::bearer;
use crate::api::error::ApiError;
use crate::api::once;
use crate::domain::principal::Principal;
use crate::service::AuditEntry;
use crate::service::Denied;
use crate::service::ServiceError;
use crate::service::Standing;

/// The header that names a request.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Answers of control calls are small; one that is not is no control call's.
const CONTROL_ANSWER_BYTES: usize = 8 * 1024 * 1024;
/// Tags of operations that make the device work.
const DEVICE_TAGS: [&str; 2] = ["steps", "inference"];

/// Tokens that the device read for a call; a handler puts it into its answer.
#[derive(Debug, Clone, Copy)]
pub struct Spent(pub u64);

/// Puts the tokens that a call cost into its answer, for the caller's rate.
pub fn spent(mut response: Response, tokens: usize) -> Response {
    response.extensions_mut().insert(Spent(tokens as u64));
    response
}

/// An operation of the contract.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Action {
    /// Its name.
    pub name: String,
    /// Whether it makes the device work; such calls are in the ledger, not in the audit log.
    pub device: bool,
}

/// The operations, by method and route.
#[derive(Debug, Clone, Default)]
pub struct Actions(Arc<HashMap<(Method, String), Action>>);

impl Actions {
    /// Reads the operations from the contract, whose paths are the routes.
    pub fn new(contract: &OpenApi) -> Self {
        let mut actions = HashMap::new();
        for (path, item) in &contract.paths.paths {
            for (method, operation) in [
                (Method::GET, &item.get),
                (Method::POST, &item.post),
                (Method::PUT, &item.put),
                (Method::PATCH, &item.patch),
                (Method::DELETE, &item.delete),
            ] {
                if let Some(action) = operation.as_ref().and_then(action) {
                    actions.insert((method, path.clone()), action);
                }
            }
        }
        Self(Arc::new(actions))
    }

    fn get(&self, method: &Method, path: &str) -> Option<&Action> {
        self.0.get(&(method.clone(), path.to_owned()))
    }
}

fn action(operation: &Operation) -> Option<Action> {
    let tags = operation.tags.as_deref().unwrap_or_default();
    let device = tags.iter().any(|tag| DEVICE_TAGS.contains(&tag.as_str()));
    Some(Action { name: operation.operation_id.clone()?, device })
}

/// Wraps every route that needs a key.
pub async fn govern(
    State((app, actions)): State<(App, Actions)>,
    path: MatchedPath,
    params: Result<RawPathParams, RawPathParamsRejection>,
    mut request: Request,
    next: Next,
) -> Response {
    let caller = match check(&app, request.headers()).await {
        Ok(caller) => caller,
        Err(refused) => return refused.into_response(),
    };
    if let Err(refused) = check_url(request.uri()) {
        return refused.into_response();
    }
    let method = request.method().clone();
    let action = actions.get(&method, path.as_str());
    let device = action.is_some_and(|action| action.device);
    match app.governor.admit(&caller, device).await {
        Ok(None) => {}
        Ok(Some(denied)) => return shown(refuse(&denied).into_response(), &app.governor.standing(&caller)),
        Err(error) => return ApiError::from(error).into_response(),
    }
    request.extensions_mut().insert(caller.clone());
    let changes = action.filter(|action| !action.device && method != Method::GET);
    let response = match changes {
        None => next.run(request).await,
        Some(action) => {
            change(&app, &caller, (action, path.as_str(), params.ok().and_then(|params| last(&params))), request, next)
                .await
        }
    };
    if let Some(Spent(tokens)) = response.extensions().get() {
        app.governor.charge(&caller, *tokens);
    }
    shown(response, &app.governor.standing(&caller))
}

async fn check(app: &App, headers: &HeaderMap) -> Result<Principal, ApiError> {
    let token = bearer(headers).ok_or_else(ApiError::unauthorized)?;
    app.keys.check(token).await?.ok_or_else(ApiError::unauthorized)
}

/// Refuses U+0000, which no text of ours may have: the database cannot hold it.
fn check_url(url: &Uri) -> Result<(), ApiError> {
    if url.query().is_some_and(|query| query.contains("%00")) {
        return Err(ApiError::new(StatusCode::BAD_REQUEST, "invalid_query", "The query has the character U+0000."));
    }
    if url.path().contains("%00") {
        return Err(ServiceError::not_found("resource", url.path()).into());
    }
    Ok(())
}

fn last(params: &RawPathParams) -> Option<String> {
    params.iter().last().map(|(_, value)| value.to_owned())
}

/// A call that changes something: carried out once, and written into the audit log with what it was about.
async fn change(
    app: &App,
    caller: &Principal,
    (action, path, resource): (&Action, &str, Option<String>),
    request: Request,
    next: Next,
) -> Response {
    let request_id = request.headers().get(REQUEST_ID).and_then(|id| id.to_str().ok()).unwrap_or_default().to_owned();
    let response = match *request.method() == Method::POST {
        true => once::run(app, caller, path, request, next).await,
        false => next.run(request).await,
    };
    let (parts, body) = response.into_parts();
    let Ok(body) = axum::body::to_bytes(body, CONTROL_ANSWER_BYTES).await else {
        return ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "internal_error", "The answer broke off.")
            .into_response();
    };
    let resource = resource.or_else(|| made(&body));
    let status = parts.status.as_u16();
    let entry = AuditEntry { action: &action.name, resource: resource.as_deref(), status, request_id: &request_id };
    if let Err(error) = app.audit_log.note(caller, &entry).await {
        tracing::error!(%error, action = action.name, "the audit log could not be written: {error}");
    }
    Response::from_parts(parts, Body::from(body))
}

/// Id of the thing in an answer.
fn made(body: &Bytes) -> Option<String> {
    #[derive(Deserialize)]
    struct Thing {
        id: String,
    }
    serde_json::from_slice::<Thing>(body).ok().map(|thing| thing.id)
}

fn refuse(denied: &Denied) -> ApiError {
    match denied {
        Denied::Rate { of, wait } => {
            let message =
                format!("Rate limit reached for {of} per minute; try again in {} ms.", wait.as_millis().max(1));
            ApiError::new(StatusCode::TOO_MANY_REQUESTS, "rate_limit_exceeded", message).retry_after(*wait)
        }
        Denied::Budget { name, of_key } => {
            let whose = if *of_key { "this key" } else { "the project" };
            let message = format!("The budget of {whose} for this month is spent ({name}).");
            ApiError::new(StatusCode::TOO_MANY_REQUESTS, "insufficient_quota", message).at(*name).never_retry()
        }
    }
}

/// How the caller stands, in OpenAI's headers.
fn shown(mut response: Response, standing: &Standing) -> Response {
    let headers = response.headers_mut();
    for ([limit, remaining, reset], level) in [(OF_REQUESTS, standing.requests), (OF_TOKENS, standing.tokens)] {
        let after = HeaderValue::from_str(&duration(level.reset.as_millis()));
        headers.insert(limit, HeaderValue::from(level.limit));
        headers.insert(remaining, HeaderValue::from(level.remaining));
        headers.insert(reset, after.unwrap_or(HeaderValue::from_static("0ms")));
    }
    response
}

/// Limit, remaining and reset.
const OF_REQUESTS: [HeaderName; 3] = [
    HeaderName::from_static("x-ratelimit-limit-requests"),
    HeaderName::from_static("x-ratelimit-remaining-requests"),
    HeaderName::from_static("x-ratelimit-reset-requests"),
];
const OF_TOKENS: [HeaderName; 3] = [
    HeaderName::from_static("x-ratelimit-limit-tokens"),
    HeaderName::from_static("x-ratelimit-remaining-tokens"),
    HeaderName::from_static("x-ratelimit-reset-tokens"),
];

/// `12ms`, `3.5s` or `6m0s`, as OpenAI writes durations.
fn duration(ms: u128) -> String {
    match ms {
        0..1000 => format!("{ms}ms"),
        1000..60_000 => format!("{}s", ms as f64 / 1000.0),
        _ => format!("{}m{}s", ms / 60_000, ms % 60_000 / 1000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_as_openai_writes_them() {
        assert_eq!([0, 12, 3500, 60_000, 361_000].map(duration), ["0ms", "12ms", "3.5s", "1m0s", "6m1s"]);
    }
}
