//! The error envelope. Owns the one table from refusals to HTTP; must never show what only the log may know.

use axum::Json;
use axum::http::HeaderName;
use axum::http::HeaderValue;
use axum::http::StatusCode;
use axum::http::header::RETRY_AFTER;
use axum::response::IntoResponse;
use axum::response::Response;
use serde::Serialize;
use utoipa::ToSchema;

use crate::api::pace::TooSlow;
use crate::domain::error_code::ErrorCode;
use crate::domain::error_code::Refusal;
use crate::instruments;
use crate::service::ServiceError;

/// The body of every answer that is not a success, as in OpenAI's API.
#[derive(Debug, Serialize, ToSchema)]
pub struct ErrorEnvelope {
    /// What went wrong.
    pub error: ErrorBody,
}

/// What went wrong.
#[derive(Debug, Serialize, ToSchema)]
pub struct ErrorBody {
    /// A sentence for people.
    #[schema(example = "seq is out of order: expected 3.")]
    pub message: String,
    /// Family of the error.
    #[serde(rename = "type")]
    #[schema(example = "conflict_error")]
    pub kind: String,
    /// The field, tensor or line at fault.
    #[schema(required)]
    pub param: Option<String>,
    /// A stable code for programs.
    #[schema(required, example = "step_out_of_order")]
    pub code: Option<String>,
    /// For `step_out_of_order`: the seq that is next.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expected_seq: Option<u64>,
}

/// An answer that is not a success.
#[derive(Debug)]
pub struct ApiError {
    code: ErrorCode,
    message: String,
    param: Option<String>,
    expected_seq: Option<u64>,
    retry_after_ms: Option<u64>,
    never_retry: bool,
}

impl ApiError {
    /// An error of the kind that the code stands for.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        let retry_after_ms = matches!(code.refusal(), Refusal::Busy | Refusal::Unavailable).then_some(1000);
        Self { code, message: message.into(), param: None, expected_seq: None, retry_after_ms, never_retry: false }
    }

    /// Names the field at fault.
    #[must_use]
    pub fn at(mut self, param: impl Into<String>) -> Self {
        self.param = Some(param.into());
        self
    }

    /// Says when to try again.
    #[must_use]
    pub fn retry_after(mut self, wait: std::time::Duration) -> Self {
        self.retry_after_ms = Some(u64::try_from(wait.as_millis()).unwrap_or(u64::MAX).max(1));
        self
    }

    /// Says that trying again is of no use, so that stock clients do not.
    #[must_use]
    pub fn never_retry(mut self) -> Self {
        self.never_retry = true;
        self.retry_after_ms = None;
        self
    }

    /// 401: whatever is wrong with a key that was not made here, the answer is the same.
    pub fn unauthorized() -> Self {
        Self::new(ErrorCode::InvalidApiKey, "Incorrect API key provided.")
    }

    fn kind(&self) -> &'static str {
        match self.code.refusal() {
            Refusal::Unauthenticated => "authentication_error",
            Refusal::Forbidden => "permission_error",
            Refusal::NotFound => "not_found_error",
            Refusal::Conflict => "conflict_error",
            Refusal::Busy => "rate_limit_error",
            Refusal::Internal | Refusal::Unavailable => "server_error",
            Refusal::Invalid
            | Refusal::WrongMethod
            | Refusal::TooSlow
            | Refusal::TooLarge
            | Refusal::Unsatisfiable
            | Refusal::WrongMedia
            | Refusal::Unprocessable => "invalid_request_error",
        }
    }
}

/// The one table from refusals to HTTP.
fn status(refusal: Refusal) -> StatusCode {
    match refusal {
        Refusal::Invalid => StatusCode::BAD_REQUEST,
        Refusal::Unauthenticated => StatusCode::UNAUTHORIZED,
        Refusal::Forbidden => StatusCode::FORBIDDEN,
        Refusal::NotFound => StatusCode::NOT_FOUND,
        Refusal::WrongMethod => StatusCode::METHOD_NOT_ALLOWED,
        Refusal::TooSlow => StatusCode::REQUEST_TIMEOUT,
        Refusal::Conflict => StatusCode::CONFLICT,
        Refusal::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        Refusal::Unsatisfiable => StatusCode::RANGE_NOT_SATISFIABLE,
        Refusal::WrongMedia => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        Refusal::Unprocessable => StatusCode::UNPROCESSABLE_ENTITY,
        Refusal::Busy => StatusCode::TOO_MANY_REQUESTS,
        Refusal::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        Refusal::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
    }
}

impl From<ServiceError> for ApiError {
    fn from(error: ServiceError) -> Self {
        let this =
            Self { param: error.param, expected_seq: error.expected_seq, ..Self::new(error.code, error.message) };
        // Waiting fills no budget.
        if error.code == ErrorCode::InsufficientQuota { this.never_retry() } else { this }
    }
}

impl From<TooSlow> for ApiError {
    fn from(error: TooSlow) -> Self {
        Self::new(ErrorCode::BodyTimeout, format!("{error}."))
    }
}

impl ApiError {
    /// Status and body, for an answer that is written into a file.
    pub fn status_and_body(self) -> (u16, Vec<u8>) {
        let status = status(self.code.refusal()).as_u16();
        // Texts and a number: there is nothing in it that JSON has not.
        (status, serde_json::to_vec(&self.envelope()).unwrap_or_default())
    }

    fn envelope(self) -> ErrorEnvelope {
        let kind = self.kind().to_owned();
        let Self { code, message, param, expected_seq, .. } = self;
        ErrorEnvelope { error: ErrorBody { message, kind, param, code: Some(code.as_str().to_owned()), expected_seq } }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let (code, retry_after_ms) = (self.code, self.retry_after_ms);
        instruments::refused(code.as_str());
        // Stock clients retry 409 by themselves; ours never change by waiting.
        let never_retry = self.never_retry || code.refusal() == Refusal::Conflict;
        let mut response = (status(code.refusal()), Json(self.envelope())).into_response();
        let headers = response.headers_mut();
        if let Some(ms) = retry_after_ms {
            headers.insert(RETRY_AFTER, HeaderValue::from(ms.div_ceil(1000)));
            headers.insert(HeaderName::from_static("retry-after-ms"), HeaderValue::from(ms));
        }
        if never_retry {
            headers.insert(HeaderName::from_static("x-should-retry"), HeaderValue::from_static("false"));
        }
        response
    }
}
