//! The data plane: `/forward`, `/backward`, `/optim_step`. Bodies are safetensors with the scalars in the query, or JSON with
//! base64 tensors; answers follow `Accept`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use axum::Json;
use axum::extract::RawQuery;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::http::HeaderValue;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::response::Response;
use bytes::Bytes;
use serde::de::DeserializeOwned;

use crate::api::auth::Caller;
use crate::api::auth::StepsWrite;
use crate::api::dto::Binary;
use crate::api::dto::forms::Counted;
use crate::api::dto::steps::AdaptersJson;
use crate::api::dto::steps::BackwardAnswer;
use crate::api::dto::steps::BackwardBody;
use crate::api::dto::steps::BackwardQuery;
use crate::api::dto::steps::ForwardAnswer;
use crate::api::dto::steps::ForwardBody;
use crate::api::dto::steps::ForwardQuery;
use crate::api::dto::steps::OptimStepAnswer;
use crate::api::dto::steps::OptimStepBody;
use crate::api::dto::steps::TensorMap;
use crate::api::dto::steps::TextJson;
use crate::api::dto::steps::encode_all;
use crate::api::error::ApiError;
use crate::api::error::ErrorEnvelope;
use crate::api::extract::ApiBytes;
use crate::api::extract::ApiId;
use crate::api::extract::Media;
use crate::api::extract::accepted;
use crate::api::extract::content_type;
use crate::api::extract::json_of;
use crate::api::extract::parse_json;
use crate::api::extract::parse_query;
use crate::api::extract::unsupported_media;
use crate::api::gate::spent;
use crate::api::reading::in_turn;
use crate::api::server_timing::engine_and_device;
use crate::api::server_timing::timed;
use crate::api::state::App;
use crate::api::state::to_the_end;
use crate::api::unread::until_read;
use crate::domain::adapter_selection::AdapterSelection;
use crate::domain::error_code::ErrorCode;
use crate::domain::ids::JobId;
use crate::domain::ids::KeyId;
use crate::domain::limits::Limits;
use crate::domain::limits::MOST_ROWS;
use crate::domain::tensor::WireTensor;
use crate::instruments;
use crate::instruments::Phase;
use crate::service::Answer;
use crate::service::BackwardRequest;
use crate::service::ForwardRequest;
use crate::service::ForwardScalars;
use crate::service::ForwardValues;
use crate::service::OptimRequest;
use crate::service::Outgoing;
use crate::service::Sent;
use crate::service::ServiceError;
use crate::service::Timing;
use crate::service::parse_body;
use crate::service::write_safetensors;

const TAKES: &str = "application/octet-stream (safetensors) or application/json";

/// Forward
///
/// Runs all adapter sets over one batch and returns their activations. With `train` (the default) the call is a step: it
/// carries `seq`, and its graph is kept for a backward. With `train=false` it evaluates: no seq, no graph, no dropout.
/// The batch is `rows` of the job's file, `texts` (JSON only), or `input_ids` with `lengths`. `theta.{i}` sets adapter values
/// (client custody) before the pass.
#[utoipa::path(post, path = "/fine_tuning/jobs/{job_id}/forward", tag = "steps", security(("key" = [])),
    params(("job_id" = String, Path, description = "Id of the job"), ForwardQuery),
    request_body(content((ForwardBody = "application/json"), (Binary = "application/octet-stream"))),
    responses(
        (status = 200, description = "The activations `h.{i}` and `h.base`; `forward_id` for the backward", content(
            (ForwardAnswer = "application/json"), (Binary = "application/octet-stream"))),
        (status = 400, description = "A field is wrong, unknown, or looks like a label", body = ErrorEnvelope),
        (status = 404, description = "No such job", body = ErrorEnvelope),
        (status = 409, description = "`step_out_of_order`, `answer_expired`, `adapters_needed`, `job_not_running`", body = ErrorEnvelope),
        (status = 413, description = "Batch or body too large; the limit is named", body = ErrorEnvelope),
        (status = 415, description = "Unknown media type", body = ErrorEnvelope),
        (status = 422, description = "A tensor cannot be used, or the seq was used with other bytes", body = ErrorEnvelope),
        (status = 429, description = "The device is busy", body = ErrorEnvelope),
    ))]
pub async fn forward(
    State(app): State<App>,
    caller: Caller<StepsWrite>,
    ApiId(job): ApiId<JobId>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    ApiBytes(body): ApiBytes,
) -> Result<Response, ApiError> {
    let permit = app.steps.enter(caller.project)?;
    let received = Received { key: caller.key, query: query.unwrap_or_default(), media: content_type(&headers), body };
    let (bytes, limits) = (received.body.len(), Arc::clone(&app.limits));
    let request = in_turn(&app, caller.project, bytes, move || read_forward(received, &limits)).await?;
    let answer = to_the_end(async move { app.steps.forward(permit, job, request).await }).await?;
    send(answer, accepted(&headers)).await
}

/// A call as it came.
struct Received {
    key: KeyId,
    query: String,
    media: Option<Media>,
    body: Bytes,
}

fn read_forward(received: Received, limits: &Limits) -> Result<ForwardRequest, ApiError> {
    let Received { key, query, media, body } = received;
    let sent = Sent::new(key, "forward", &query, &body);
    match media {
        Some(Media::Safetensors) => {
            let scalars = forward_scalars(parse_query::<ForwardQuery>(&query)?)?;
            Ok(ForwardRequest::from_tensors(scalars, parse_body(body, limits)?, sent)?)
        }
        Some(Media::Json) => forward_json(read_json(&query, &body)?, sent),
        None => Err(unsupported_media(TAKES)),
    }
}

fn forward_scalars(query: ForwardQuery) -> Result<ForwardScalars, ApiError> {
    Ok(ForwardScalars {
        seq: query.seq,
        train: query.train.unwrap_or(true),
        adapters: query.adapters.as_deref().unwrap_or("all").parse().map_err(ServiceError::from)?,
        base: query.base.unwrap_or(false),
    })
}

fn forward_json(body: ForwardBody, sent: Sent) -> Result<ForwardRequest, ApiError> {
    let adapters = match body.adapters {
        None => AdapterSelection::All,
        Some(AdaptersJson::Word(word)) => word.parse().map_err(ServiceError::from)?,
        Some(AdaptersJson::Sets(sets)) => AdapterSelection::Some(sets),
    };
    let scalars =
        ForwardScalars { seq: body.seq, train: body.train.unwrap_or(true), adapters, base: body.base.unwrap_or(false) };
    let theta = decode_all(&body.theta.unwrap_or_default(), |name| format!("theta.{name}"))?;
    let texts = match body.texts.map(whole).transpose()? {
        Some(texts) => Some(texts.into_iter().enumerate().map(|(n, one)| text(n, one)).collect::<Result<_, _>>()?),
        None => None,
    };
    let input_ids = body.input_ids.map(whole).transpose()?;
    let token_type_ids = body.token_type_ids.map(whole).transpose()?;
    let rows = body.rows;
    let values = ForwardValues { rows, texts, input_ids, token_type_ids, theta };
    Ok(ForwardRequest::from_values(scalars, values, sent)?)
}

/// All inputs of a list; refuses one of which not all were kept.
fn whole<T>(inputs: Counted<T>) -> Result<Vec<T>, ApiError> {
    let Counted { kept, count } = inputs;
    if kept.len() < count {
        let message = format!("{count} inputs in one forward, at most {MOST_ROWS} are read.");
        return Err(ApiError::new(ErrorCode::TooLarge, message));
    }
    Ok(kept)
}

fn text(number: usize, text: TextJson) -> Result<(String, Option<String>), ApiError> {
    match text {
        TextJson::One(text) => Ok((text, None)),
        TextJson::Pair(Counted { kept, count }) => match <[String; 2]>::try_from(kept) {
            Ok([first, second]) => Ok((first, Some(second))),
            Err(_) => {
                let message = format!("texts[{number}]: a pair has two texts, not {count}.");
                Err(ServiceError::new(ErrorCode::InvalidText, message).at(format!("texts[{number}]")).into())
            }
        },
    }
}

/// Backward
///
/// For each share `s.{i}.{j}` of a gradient, the vector-Jacobian product with adapter set i's Jacobian. In client custody the
/// answer is `G.{i}.{j}`, one for each share, unsummed: only the label holder can form the gradient. In host custody the host
/// sums what it is sent.
#[utoipa::path(post, path = "/fine_tuning/jobs/{job_id}/backward", tag = "steps", security(("key" = [])),
    params(("job_id" = String, Path, description = "Id of the job"),
        ("seq" = Option<u64>, Query, description = "Step number (binary form)"),
        ("forward_id" = Option<String>, Query, description = "The forward it belongs to (binary form)")),
    request_body(content((BackwardBody = "application/json"), (Binary = "application/octet-stream"))),
    responses(
        (status = 200, description = "The products, or in host custody the norms", content(
            (BackwardAnswer = "application/json"), (Binary = "application/octet-stream"))),
        (status = 400, description = "A field is wrong, unknown, or looks like a label", body = ErrorEnvelope),
        (status = 404, description = "No such job or forward", body = ErrorEnvelope),
        (status = 409, description = "`step_out_of_order`, `answer_expired`, `forward_lost`, `job_not_running`", body = ErrorEnvelope),
        (status = 413, description = "Body too large", body = ErrorEnvelope),
        (status = 415, description = "Unknown media type", body = ErrorEnvelope),
        (status = 422, description = "A share has the wrong shape or is not finite, or the seq was used with other bytes", body = ErrorEnvelope),
        (status = 429, description = "The device is busy", body = ErrorEnvelope),
    ))]
pub async fn backward(
    State(app): State<App>,
    caller: Caller<StepsWrite>,
    ApiId(job): ApiId<JobId>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    ApiBytes(body): ApiBytes,
) -> Result<Response, ApiError> {
    let permit = app.steps.enter(caller.project)?;
    let received = Received { key: caller.key, query: query.unwrap_or_default(), media: content_type(&headers), body };
    let (bytes, limits) = (received.body.len(), Arc::clone(&app.limits));
    let request = in_turn(&app, caller.project, bytes, move || read_backward(received, &limits)).await?;
    let answer = to_the_end(async move { app.steps.backward(permit, job, request).await }).await?;
    send(answer, accepted(&headers)).await
}

fn read_backward(received: Received, limits: &Limits) -> Result<BackwardRequest, ApiError> {
    let Received { key, query, media, body } = received;
    let sent = Sent::new(key, "backward", &query, &body);
    let (scalars, tensors) = match media {
        Some(Media::Safetensors) => (parse_query::<BackwardQuery>(&query)?, parse_body(body, limits)?),
        Some(Media::Json) => {
            let body: BackwardBody = read_json(&query, &body)?;
            let tensors = decode_all(&body.shares, str::to_owned)?;
            (BackwardQuery { seq: body.seq, forward_id: body.forward_id }, tensors)
        }
        None => return Err(unsupported_media(TAKES)),
    };
    let unknown = |_| ServiceError::not_found("forward", &scalars.forward_id).at("forward_id");
    let forward = scalars.forward_id.parse().map_err(unknown)?;
    Ok(BackwardRequest::new(scalars.seq, forward, tensors, sent)?)
}

/// Optimizer step
///
/// Host custody: one AdamW step on the gradients accumulated since the last one. `durable_seq` in the answer is the newest
/// step call that survives a crash of the host: keep what you sent after it, and send it again if the host asks for it.
#[utoipa::path(post, path = "/fine_tuning/jobs/{job_id}/optim_step", tag = "steps", security(("key" = [])),
    params(("job_id" = String, Path, description = "Id of the job")), request_body = OptimStepBody, responses(
        (status = 200, description = "The step", body = OptimStepAnswer),
        (status = 400, description = "A field is wrong or unknown", body = ErrorEnvelope),
        (status = 404, description = "No such job", body = ErrorEnvelope),
        (status = 409, description = "`step_out_of_order`, `client_custody`, `job_not_running`", body = ErrorEnvelope),
        (status = 422, description = "The step would not be finite, or the seq was used with other bytes", body = ErrorEnvelope),
    ))]
pub async fn optim_step(
    State(app): State<App>,
    caller: Caller<StepsWrite>,
    ApiId(job): ApiId<JobId>,
    headers: HeaderMap,
    ApiBytes(body): ApiBytes,
) -> Result<Response, ApiError> {
    let step: OptimStepBody = json_of(&headers, &body)?;
    let sent = Sent::new(caller.key, "optim_step", "", &body);
    let request = OptimRequest { seq: step.seq, adamw: step.adamw()?, sent };
    let answer = to_the_end(async move { app.steps.optim_step(caller.project, job, request).await }).await?;
    send(answer, Media::Json).await
}

fn read_json<T: DeserializeOwned>(query: &str, body: &Bytes) -> Result<T, ApiError> {
    if !query.is_empty() {
        let message = "With a JSON body the scalars stand in the body, not in the query.";
        return Err(ApiError::new(ErrorCode::InvalidQuery, message));
    }
    parse_json(body)
}

/// Tensors of a JSON body, under the names that the binary form has.
pub fn decode_all(map: &TensorMap, name: impl Fn(&str) -> String) -> Result<Vec<WireTensor>, ApiError> {
    Ok(map.iter().map(|(key, tensor)| tensor.decode(&name(key))).collect::<Result<_, _>>()?)
}

/// An answer in the form asked for; its bytes are held until they are read.
async fn send(outgoing: Outgoing, media: Media) -> Result<Response, ApiError> {
    let (kind, begun) = (outgoing.answer.kind(), Instant::now());
    let response = encode(outgoing.answer, media)?;
    instruments::step(kind.as_str(), Phase::Encode, begun.elapsed());
    until_read(response, outgoing.body).await
}

/// An answer in the form asked for, with the engine's part of the time in `Server-Timing`.
///
/// Answers without tensors are always JSON.
fn encode(answer: Answer, media: Media) -> Result<Response, ApiError> {
    let by_set = |norms: Vec<f64>| norms.into_iter().enumerate().map(|(set, norm)| (set.to_string(), norm)).collect();
    let timing = match &answer {
        Answer::Forward { timing, .. } | Answer::Gradients { timing, .. } | Answer::Accumulated { timing, .. } => {
            Some(*timing)
        }
        Answer::Stepped { .. } => None,
    };
    let cost = match &answer {
        Answer::Forward { tokens, .. } | Answer::Gradients { tokens, .. } | Answer::Accumulated { tokens, .. } => {
            *tokens
        }
        Answer::Stepped { .. } => 0,
    };
    let response = match answer {
        Answer::Forward { forward, seq, tokens, truncated, tensors, .. } => match media {
            Media::Safetensors => {
                let counts = [("tokens", tokens), ("truncated", truncated)];
                let mut scalars: BTreeMap<_, _> =
                    counts.into_iter().map(|(name, count)| (name.to_owned(), count.to_string())).collect();
                scalars.extend(forward.map(|id| ("forward_id".to_owned(), id.to_string())));
                scalars.extend(seq.map(|seq| ("seq".to_owned(), seq.to_string())));
                safetensors(&tensors, &scalars)
            }
            Media::Json => Ok(Json(ForwardAnswer {
                object: "fine_tuning.job.forward",
                forward_id: forward.map(|id| id.to_string()),
                seq,
                tokens,
                truncated,
                activations: encode_all(&tensors),
            })
            .into_response()),
        },
        Answer::Gradients { seq, tensors, .. } => match media {
            Media::Safetensors => safetensors(&tensors, &BTreeMap::from([("seq".to_owned(), seq.to_string())])),
            Media::Json => Ok(Json(backward_answer(seq, Some(encode_all(&tensors)), None)).into_response()),
        },
        Answer::Accumulated { seq, norms, .. } => {
            Ok(Json(backward_answer(seq, None, Some(by_set(norms)))).into_response())
        }
        Answer::Stepped { seq, step, norms, clipped, durable_step, durable_seq } => Ok(Json(OptimStepAnswer {
            object: "fine_tuning.job.optim_step",
            seq,
            step,
            gradient_norms: by_set(norms),
            clipped_norm: clipped,
            durable_step,
            durable_seq,
        })
        .into_response()),
    }?;
    let response = match timing {
        Some(Timing { engine, device }) => timed(response, &engine_and_device(engine, device)),
        None => response,
    };
    Ok(spent(response, cost))
}

fn backward_answer(
    seq: u64,
    gradients: Option<TensorMap>,
    gradient_norms: Option<BTreeMap<String, f64>>,
) -> BackwardAnswer {
    BackwardAnswer { object: "fine_tuning.job.backward", seq, gradients, gradient_norms }
}

/// Tensors as safetensors, with scalars as metadata.
pub fn safetensors(tensors: &[WireTensor], scalars: &BTreeMap<String, String>) -> Result<Response, ApiError> {
    let bytes = write_safetensors(tensors, scalars).map_err(ServiceError::internal)?;
    Ok(([(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"))], bytes).into_response())
}
