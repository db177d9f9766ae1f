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

use crate::service::Refusal;
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
    /// Sentence for people.
    #[schema(example = "seq is out of order: expected 3.")]
    pub message: String,
    /// Family of the error.
    #[serde(rename = "type")]
    #[schema(example = "conflict_error")]
    pub kind: String,
    /// The field, tensor or line at fault.
    #[schema(required)]
    pub param: Option<String>,
    /// Stable word for programs.
    #[schema(required, example = "step_out_of_order")]
    pub code: Option<String>,
    /// For `step_out_of_order`: the seq that is next.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expected_seq: Option<u64>,
}

/// An answer that is not a success.
#[derive(Debug)]
pub struct ApiError {
    status: StatusCode,
    code: &'static str,
    message: String,
    param: Option<String>,
    expected_seq: Option<u64>,
    retry_after_ms: Option<u64>,
    never_retry: bool,
}

impl ApiError {
    /// An error that only HTTP knows of.
    pub fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        let retry_after_ms = matches!(status.as_u16(), 429 | 503).then_some(1000);
        Self {
            status,
            code,
            message: message.into(),
            param: None,
            expected_seq: None,
            retry_after_ms,
            never_retry: false,
        }
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
        (self.never_retry, self.retry_after_ms) = (true, None);
        self
    }

    /// 401: whatever was wrong with the key, the answer is the same.
    pub fn unauthorized() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "invalid_api_key", "Incorrect API key provided.")
    }

    fn kind(&self) -> &'static str {
        match self.status.as_u16() {
            401 => "authentication_error",
            403 => "permission_error",
            404 => "not_found_error",
            409 => "conflict_error",
            429 => "rate_limit_error",
            500.. => "server_error",
            _ => "invalid_request_error",
        }
    }
}

impl From<ServiceError> for ApiError {
    fn from(error: ServiceError) -> Self {
        let status = match error.refusal {
            Refusal::Invalid => StatusCode::BAD_REQUEST,
            Refusal::Unprocessable => StatusCode::UNPROCESSABLE_ENTITY,
            Refusal::NotFound => StatusCode::NOT_FOUND,
            Refusal::Conflict => StatusCode::CONFLICT,
            Refusal::Forbidden => StatusCode::FORBIDDEN,
            Refusal::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Refusal::Busy => StatusCode::TOO_MANY_REQUESTS,
            Refusal::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            Refusal::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Self { param: error.param, expected_seq: error.expected_seq, ..Self::new(status, error.code, error.message) }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let kind = self.kind().to_owned();
        let (status, retry_after_ms) = (self.status, self.retry_after_ms);
        // Stock clients retry 409 by themselves; ours never change by waiting.
        let never_retry = self.never_retry || status == StatusCode::CONFLICT;
        let error = ErrorBody {
            message: self.message,
            kind,
            param: self.param,
            code: Some(self.code.to_owned()),
            expected_seq: self.expected_seq,
        };
        let mut response = (status, Json(ErrorEnvelope { error })).into_response();
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
