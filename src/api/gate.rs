//! What every call with a key goes through: the key and its scope are checked, rates, budgets and the project's places are enforced,
//! and changes are written into the audit log. All of it before a byte of the body is read. Owns who is let in; what a call is held to is for its operation's class to say. Must never know what an
//! operation does.

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
use axum::http::Uri;
use axum::middleware::Next;
use axum::response::IntoResponse;
use axum::response::Response;
use serde::Deserialize;

use crate::api::auth::Checked;
use crate::api::auth::bearer;
use crate::api::auth::check_scope;
use crate::api::error::ApiError;
use crate::api::once;
use crate::api::operations::Operation;
use crate::api::operations::Operations;
use crate::api::relay;
use crate::api::relay::Call;
use crate::api::relay::Relayed;
use crate::api::scopes::scopes_of;
use crate::api::state::App;
use crate::domain::error_code::ErrorCode;
use crate::domain::principal::Principal;
use crate::service::AuditEntry;
use crate::service::Denied;
use crate::service::Judged;
use crate::service::ServiceError;
use crate::service::Standing;
use crate::service::with_one_wait;

/// The header that names a request.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Answers of control calls are small; one that is not is no control call's.
const CONTROL_ANSWER_BYTES: usize = 8 * 1024 * 1024;

/// Tokens that the device read for a call; a handler puts it into its answer.
#[derive(Debug, Clone, Copy)]
pub struct Spent(pub u64);

/// Puts the tokens that a call cost into its answer, for the caller's rate.
pub fn spent(mut response: Response, tokens: usize) -> Response {
    response.extensions_mut().insert(Spent(tokens as u64));
    response
}

/// Wraps every route that needs a key.
pub async fn govern(
    State((app, operations)): State<(App, Operations)>,
    path: MatchedPath,
    params: Result<RawPathParams, RawPathParamsRejection>,
    request: Request,
    next: Next,
) -> Response {
    let route = Route { path, params: params.ok() };
    with_one_wait(pass(&app, &operations, route, request, next)).await
}

/// Where a request goes.
struct Route {
    path: MatchedPath,
    params: Option<RawPathParams>,
}

async fn pass(app: &App, operations: &Operations, route: Route, mut request: Request, next: Next) -> Response {
    let Route { path, params } = route;
    let caller = match check(app, request.headers()).await {
        Ok(caller) => caller,
        Err(refused) => return refused.into_response(),
    };
    if let Err(refused) = check_url(request.uri()) {
        return refused.into_response();
    }
    let method = request.method().clone();
    // There is none for a method that the route does not take: the router refuses it.
    let operation = operations.get(&method, path.as_str());
    if let Some(operation) = operation {
        match relay::relay(app, &caller, operation, Call { params: params.as_ref(), request }).await {
            Relayed::Here(own) => request = own,
            Relayed::Answered(answer) => return answer,
        }
    }
    let is_metered = operation.is_some_and(|operation| operation.class.is_metered());
    match app.governor.admit(&caller, is_metered).await {
        Ok(None) => {}
        Ok(Some(denied)) => return shown(refuse(&denied).into_response(), &app.governor.standing(&caller)),
        Err(error) => return ApiError::from(error).into_response(),
    }
    let Some(_place) = app.places.take(caller.project) else {
        return shown(no_place(app).into_response(), &app.governor.standing(&caller));
    };
    let refused = operation.and_then(|operation| check_operation(&caller, operation, &mut request).err());
    request.extensions_mut().insert(caller.clone());
    let change = operation.filter(|operation| operation.class.is_audited() && method != Method::GET);
    let response = match change {
        None => match refused {
            Some(refused) => refused.into_response(),
            None => next.run(request).await,
        },
        Some(operation) => {
            let resource = params.and_then(|params| last(&params));
            let change = Change { operation, path: path.as_str(), resource, refused };
            carry_out(app, &caller, change, request, next).await
        }
    };
    if let Some(Spent(tokens)) = response.extensions().get() {
        app.governor.charge(&caller, *tokens);
    }
    relay::stamp(app, shown(response, &app.governor.standing(&caller)))
}

async fn check(app: &App, headers: &HeaderMap) -> Result<Principal, ApiError> {
    let token = bearer(headers).ok_or_else(ApiError::unauthorized)?;
    match app.keys.judge(token).await? {
        Judged::Valid(caller) => Ok(caller),
        Judged::Ended(reason) => Err(ApiError::new(ErrorCode::InvalidApiKey, reason)),
        Judged::Unknown => Err(ApiError::unauthorized()),
    }
}

/// Refuses U+0000, which no text of ours may have: the database cannot hold it.
fn check_url(url: &Uri) -> Result<(), ApiError> {
    if url.query().is_some_and(|query| query.contains("%00")) {
        return Err(ApiError::new(ErrorCode::InvalidQuery, "The query has the character U+0000."));
    }
    if url.path().contains("%00") {
        return Err(ServiceError::not_found("resource", url.path()).into());
    }
    Ok(())
}

/// Refuses a key that lacks a scope of the operation; tells the handler which ones were checked.
fn check_operation(caller: &Principal, operation: &Operation, request: &mut Request) -> Result<(), ApiError> {
    let scopes = scopes_of(&operation.name);
    request.extensions_mut().insert(Checked(scopes));
    scopes.iter().try_for_each(|scope| check_scope(caller, *scope))
}

fn no_place(app: &App) -> ApiError {
    let most = app.places.most();
    let message = format!(
        "The project has {most} requests in flight, as many as one may; wait for one of them to end, then try again."
    );
    ApiError::new(ErrorCode::TooManyCalls, message)
}

fn last(params: &RawPathParams) -> Option<String> {
    params.iter().last().map(|(_, value)| value.to_owned())
}

/// A call that changes something.
struct Change<'a> {
    operation: &'a Operation,
    path: &'a str,
    /// The last id in the path.
    resource: Option<String>,
    /// Why it is not carried out.
    refused: Option<ApiError>,
}

/// Carries a change out, once where its class says so, and writes it into the audit log with what it was about.
async fn carry_out(app: &App, caller: &Principal, change: Change<'_>, request: Request, next: Next) -> Response {
    let Change { operation, path, resource, refused } = change;
    let request_id = request.headers().get(REQUEST_ID).and_then(|id| id.to_str().ok()).unwrap_or_default().to_owned();
    let response = if let Some(refused) = refused {
        refused.into_response()
    } else if operation.class.takes_idempotency_key() && *request.method() == Method::POST {
        once::run(app, caller, path, request, next).await
    } else {
        next.run(request).await
    };
    let (parts, body) = response.into_parts();
    let Ok(body) = axum::body::to_bytes(body, CONTROL_ANSWER_BYTES).await else {
        return ApiError::new(ErrorCode::InternalError, "The answer broke off.").into_response();
    };
    let resource = resource.or_else(|| made(&body));
    let status = parts.status.as_u16();
    let entry = AuditEntry { action: &operation.name, resource: resource.as_deref(), status, request_id: &request_id };
    if let Err(error) = app.audit_log.note(caller, &entry).await {
        tracing::error!(%error, action = operation.name, "the audit log could not be written: {error}");
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
            ApiError::new(ErrorCode::RateLimitExceeded, message).retry_after(*wait)
        }
        Denied::Budget { name, of_key } => {
            let whose = if *of_key { "this key" } else { "the project" };
            let message = format!("The budget of {whose} for this month is spent ({name}).");
            ApiError::new(ErrorCode::InsufficientQuota, message).at(*name).never_retry()
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
