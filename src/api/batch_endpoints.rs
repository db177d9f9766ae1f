//! The live endpoints for requests of batches, which nobody waits for: the same bodies are read, the same checks refuse them, and the
//! same answers and errors are written. Owns which refusals are worth another try; must never meter or keep anything.

use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;
use serde::Serialize;

use crate::api::dto::inference::ActivationsAnswer;
use crate::api::dto::inference::ActivationsBody;
use crate::api::dto::inference::EmbeddingsAnswer;
use crate::api::dto::inference::EmbeddingsBody;
use crate::api::error::ApiError;
use crate::api::extract::parse_json;
use crate::domain::batch::BatchEndpoint;
use crate::domain::error_code::ErrorCode;
use crate::domain::error_code::Refusal;
use crate::service::Endpoints;
use crate::service::Features;
use crate::service::Inference;
use crate::service::LineAnswer;
use crate::service::LineCall;
use crate::service::Result;
use crate::service::ServiceError;
use crate::service::Used;

/// Status of an answer that is no refusal.
const OK: u16 = 200;

/// The endpoints.
pub struct BatchEndpoints {
    /// Activations and embeddings.
    pub inference: Arc<Inference>,
    /// What a call with `like` stands for.
    pub features: Arc<Features>,
}

impl Endpoints for BatchEndpoints {
    fn answer(&self, call: LineCall) -> BoxFuture<'_, Result<LineAnswer>> {
        async move {
            let answered = match call.endpoint {
                BatchEndpoint::Embeddings => self.embeddings(&call).await,
                BatchEndpoint::Activations => self.activations(&call).await,
            };
            match answered {
                Ok(answer) => Ok(answer),
                Err(Refused::Body(error)) => Ok(refusal(error)),
                Err(Refused::Call(error)) if may_pass(error.code) => Err(error),
                Err(Refused::Call(error)) => Ok(refusal(error.into())),
            }
        }
        .boxed()
    }

    fn refuse(&self, reason: ServiceError) -> LineAnswer {
        refusal(reason.into())
    }
}

/// Who refused a request.
enum Refused {
    /// The reader of its body.
    Body(ApiError),
    /// The use case.
    Call(ServiceError),
}

impl From<ServiceError> for Refused {
    fn from(error: ServiceError) -> Self {
        Self::Call(error)
    }
}

impl BatchEndpoints {
    async fn embeddings(&self, call: &LineCall) -> std::result::Result<LineAnswer, Refused> {
        let body: EmbeddingsBody = parse_json(&call.body).map_err(Refused::Body)?;
        let encoding = body.encoding()?;
        let found = self.inference.embeddings_unattended(call.project, body.model, body.input.read()?).await?;
        let used = Used { model: found.answer.model.clone(), amounts: found.answer.amounts(call.body.len()) };
        Ok(written(&EmbeddingsAnswer::new(found, encoding), used)?)
    }

    async fn activations(&self, call: &LineCall) -> std::result::Result<LineAnswer, Refused> {
        let body: ActivationsBody = parse_json(&call.body).map_err(Refused::Body)?;
        let request = self.features.like(call.project, body.try_into()?).await?;
        let answer = self.inference.unattended(call.project, request).await?;
        let used = Used { model: answer.model.clone(), amounts: answer.amounts(call.body.len()) };
        Ok(written(&ActivationsAnswer::from(answer), used)?)
    }
}

fn written(answer: &impl Serialize, used: Used) -> Result<LineAnswer> {
    let body = serde_json::to_vec(answer).map_err(ServiceError::internal)?;
    Ok(LineAnswer { status: OK, body, used: Some(used) })
}

fn refusal(error: ApiError) -> LineAnswer {
    let (status, body) = error.status_and_body();
    LineAnswer { status, body, used: None }
}

/// Whether the request may be answered when it is tried again. A device that ran out of memory runs out of it again.
fn may_pass(code: ErrorCode) -> bool {
    matches!(code.refusal(), Refusal::Busy | Refusal::Unavailable) && code != ErrorCode::OutOfMemory
}
