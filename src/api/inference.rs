//! `/v1/activations` and `/v1/embeddings`: models outside of a job. Answers say in `Server-Timing` what the engine took, how many
//! calls shared the pass, and what opening the model took where this call did.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::http::header::CONTENT_LENGTH;
use axum::response::IntoResponse;
use axum::response::Response;
use bytes::Bytes;
use serde::de::DeserializeOwned;

use crate::api::auth::Caller;
use crate::api::auth::StepsWrite;
use crate::api::dto::Binary;
use crate::api::dto::inference::ActivationsAnswer;
use crate::api::dto::inference::ActivationsBody;
use crate::api::dto::inference::EmbeddingsAnswer;
use crate::api::dto::inference::EmbeddingsBody;
use crate::api::error::ApiError;
use crate::api::error::ErrorEnvelope;
use crate::api::extract::ApiBytes;
use crate::api::extract::Media;
use crate::api::extract::accepted;
use crate::api::extract::need_json;
use crate::api::extract::parse_json;
use crate::api::gate::spent;
use crate::api::reading::in_turn;
use crate::api::server_timing::engine_and_device;
use crate::api::server_timing::entry;
use crate::api::server_timing::timed;
use crate::api::state::App;
use crate::api::steps::safetensors;
use crate::api::unread::until_read;
use crate::domain::ids::ProjectId;
use crate::service::InferenceAnswer;

/// Activations
///
/// Runs a backbone, or a fine-tuned model of the project, over some inputs: what a private head at home reads. A backbone gives
/// `h.base`, a fine-tuned model `h.{i}` of its adapter sets (and `h.base` when asked). With `layers` or `tokens` a backbone gives the
/// hidden states of its levels instead, and with `like` the features that a features job has of its rows. Nothing is kept. With `Accept: application/octet-stream` the answer is safetensors, with the
/// scalars as metadata. Small calls of several callers share a pass; each answer is its own to rounding. `Server-Timing` says what the
/// engine took (`engine;dur`, ms), what the device took, which is billed (`device;dur`), how many calls shared the pass (`pass;desc`), and what opening the model took (`load;dur`) where this
/// call did.
#[utoipa::path(post, path = "/activations", tag = "inference", security(("key" = [])), request_body = ActivationsBody, responses(
    (status = 200, description = "The activations", content(
        (ActivationsAnswer = "application/json"), (Binary = "application/octet-stream"))),
    (status = 400, description = "A field is wrong, unknown, or looks like a label; too many inputs", body = ErrorEnvelope),
    (status = 404, description = "No such model or job", body = ErrorEnvelope),
    (status = 409, description = "`settings_unknown`: the model was made before its settings were kept; or the job of `like` has no transform, yet or any more", body = ErrorEnvelope),
    (status = 413, description = "Inputs, body or answer too large; the limit is named", body = ErrorEnvelope),
    (status = 415, description = "Not JSON", body = ErrorEnvelope),
    (status = 422, description = "An input cannot be used: too long, or a token that does not exist", body = ErrorEnvelope),
    (status = 429, description = "Too many calls in flight, or the device is busy", body = ErrorEnvelope),
))]
pub async fn create_activations(
    State(app): State<App>,
    caller: Caller<StepsWrite>,
    headers: HeaderMap,
    ApiBytes(body): ApiBytes,
) -> Result<Response, ApiError> {
    let permit = app.inference.enter(caller.project)?;
    let read = read(&app, caller.project, Call { headers: &headers, body });
    let request = read.await.and_then(|body: ActivationsBody| Ok(body.try_into()?))?;
    let request = app.features.like(caller.project, request).await?;
    let answer = app.inference.activations(permit, request).await?;
    let body = app.inference.hold(caller.project, answer.bytes())?;
    app.inference.meter(caller.project, caller.key, &answer, announced(&headers)).await?;
    let tokens = answer.tokens;
    let timing = server_timing(&answer);
    let response = match accepted(&headers) {
        Media::Json => Json(ActivationsAnswer::from(answer)).into_response(),
        Media::Safetensors => {
            let tokens = answer.tokens.to_string();
            let scalars = [("model", answer.model), ("prompt_tokens", tokens.clone()), ("total_tokens", tokens)];
            let scalars: BTreeMap<_, _> = scalars.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
            safetensors(&answer.tensors, &scalars)?
        }
    };
    Ok(spent(timed(until_read(response, body).await?, &timing), tokens))
}

/// Embeddings
///
/// One vector an input, in OpenAI's shape: the activation at the model's cut, not normalized. For a fine-tuned model those of all
/// adapter sets stand side by side. Stock clients ask for base64 and decode it themselves. `Server-Timing` is as that of
/// `/v1/activations`.
#[utoipa::path(post, path = "/embeddings", tag = "inference", security(("key" = [])), request_body = EmbeddingsBody, responses(
    (status = 200, description = "The vectors", body = EmbeddingsAnswer),
    (status = 400, description = "A field is wrong, unknown, or looks like a label; too many inputs; `dimensions` is set", body = ErrorEnvelope),
    (status = 404, description = "No such model", body = ErrorEnvelope),
    (status = 409, description = "`settings_unknown`: the model was made before its settings were kept", body = ErrorEnvelope),
    (status = 413, description = "Inputs or body too large; the limit is named", body = ErrorEnvelope),
    (status = 415, description = "Not JSON", body = ErrorEnvelope),
    (status = 422, description = "An input cannot be used: too long, or a token that does not exist", body = ErrorEnvelope),
    (status = 429, description = "Too many calls in flight, or the device is busy", body = ErrorEnvelope),
))]
pub async fn create_embeddings(
    State(app): State<App>,
    caller: Caller<StepsWrite>,
    headers: HeaderMap,
    ApiBytes(body): ApiBytes,
) -> Result<Response, ApiError> {
    let permit = app.inference.enter(caller.project)?;
    let body: EmbeddingsBody = read(&app, caller.project, Call { headers: &headers, body }).await?;
    let encoding = body.encoding()?;
    let found = app.inference.embeddings(permit, body.model, body.input.read()?).await?;
    let held = app.inference.hold(caller.project, encoding.bytes(found.answer.bytes()))?;
    app.inference.meter(caller.project, caller.key, &found.answer, announced(&headers)).await?;
    let (timing, tokens) = (server_timing(&found.answer), found.answer.tokens);
    let response = Json(EmbeddingsAnswer::new(found, encoding)).into_response();
    Ok(spent(timed(until_read(response, held).await?, &timing), tokens))
}

/// A call as it came.
struct Call<'a> {
    headers: &'a HeaderMap,
    body: Bytes,
}

async fn read<T: DeserializeOwned + Send + 'static>(
    app: &App,
    project: ProjectId,
    call: Call<'_>,
) -> Result<T, ApiError> {
    need_json(call.headers)?;
    in_turn(app, project, call.body.len(), move || parse_json(&call.body)).await
}

/// Bytes of the body, as its length was announced.
fn announced(headers: &HeaderMap) -> usize {
    headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok()).unwrap_or(0)
}

/// What the engine took and did: times, and the calls of the pass as a description.
fn server_timing(answer: &InferenceAnswer) -> String {
    let mut entries =
        vec![engine_and_device(answer.engine, answer.device), format!("pass;desc=\"{}\"", answer.jobs_in_pass)];
    entries.extend(answer.load.map(|took| entry("load", took)));
    entries.join(", ")
}
