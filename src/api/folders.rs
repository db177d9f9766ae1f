//! `/v1/adapters`: a fine-tuned model's adapters as PEFT folders, out and in.

use axum::Json;
use axum::body::Body;
use axum::extract::FromRequest;
use axum::extract::Multipart;
use axum::extract::Request;
use axum::extract::State;
use axum::extract::multipart::Field;
use axum::http::HeaderValue;
use axum::http::header;
use axum::response::Response;
use bytes::Bytes;
use futures::TryStreamExt;

use crate::api::auth::Caller;
use crate::api::auth::ModelsRead;
use crate::api::auth::ModelsWrite;
use crate::api::checksums;
use crate::api::dto::Binary;
use crate::api::dto::models::AdapterUpload;
use crate::api::dto::models::FolderQuery;
use crate::api::dto::models::ModelObject;
use crate::api::error::ApiError;
use crate::api::error::ErrorEnvelope;
use crate::api::extract::ApiId;
use crate::api::extract::ApiQuery;
use crate::api::files::FormError;
use crate::api::files::broken_form;
use crate::api::files::short_text;
use crate::api::once::Once;
use crate::api::state::App;
use crate::api::state::to_the_end;
use crate::domain::error_code::ErrorCode;
use crate::domain::json_names::first_twice;
use crate::domain::labels::is_label_name;
use crate::domain::settings::Pooling;
use crate::service::AdapterSet;
use crate::service::BlobRef;
use crate::service::Folder;
use crate::service::ModelRow;
use crate::service::NewAdapters;
use crate::service::ServiceError;

/// Longest `adapter_config.json`.
const CONFIG_BYTES: usize = 64 * 1024;

/// Download a model's adapters
///
/// A zip of PEFT folders, `set_0/adapter_config.json` and `set_0/adapter_model.safetensors` and so on; with `set`, the two files
/// of that set.
#[utoipa::path(get, path = "/adapters/{*model}", tag = "models", security(("key" = [])),
    params(("model" = String, Path, description = "Name of the model"), FolderQuery), responses(
        (status = 200, description = "The zip", content_type = "application/zip", body = Binary),
        (status = 400, description = "The model has no adapters, or a parameter is wrong", body = ErrorEnvelope),
        (status = 404, description = "No such model or set", body = ErrorEnvelope),
    ))]
pub async fn get_model_adapters(
    State(app): State<App>,
    caller: Caller<ModelsRead>,
    ApiId(model): ApiId<String>,
    ApiQuery(query): ApiQuery<FolderQuery>,
) -> Result<Response, ApiError> {
    Ok(archive(app.models.folder(caller.project, &model, query.set).await?))
}

/// A zip as an answer.
pub fn archive(folder: Folder) -> Response {
    let mut response = Response::new(Body::from_stream(folder.stream));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/zip"));
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(folder.bytes));
    headers.insert(header::CONTENT_DISPOSITION, HeaderValue::from_static("attachment; filename=\"adapters.zip\""));
    response
}

/// Upload adapters
///
/// PEFT folders become a fine-tuned model: `config` (`adapter_config.json`) and `weights` (`adapter_model.safetensors`) come once
/// for each adapter set, in order. Plain LoRA on the backbone's linear layers; pickle files are refused. A part `weights` may have
/// `Content-Digest: sha-256=:BASE64:` among its headers, to be checked.
#[utoipa::path(post, path = "/adapters", tag = "models", security(("key" = [])),
    request_body(content = AdapterUpload, content_type = "multipart/form-data"), responses(
        (status = 200, description = "The model", body = ModelObject),
        (status = 400, description = "A field is wrong; the configuration is not plain LoRA; weights are not those of their checksum", body = ErrorEnvelope),
        (status = 404, description = "No such backbone", body = ErrorEnvelope),
        (status = 413, description = "Too large", body = ErrorEnvelope),
        (status = 422, description = "A matrix does not fit", body = ErrorEnvelope),
    ))]
pub async fn create_model_adapters(
    State(app): State<App>,
    caller: Caller<ModelsWrite>,
    once: Once,
    request: Request,
) -> Result<Json<ModelObject>, ApiError> {
    let invalid = "Send a multipart form with the fields base_model, config and weights.";
    let form = Multipart::from_request(request, &()).await;
    let mut form = form.map_err(|_| ApiError::new(ErrorCode::InvalidForm, invalid))?;
    let mut parts = Parts::default();
    let read = parts.read(&app, &mut form).await.and_then(|()| parts.whole());
    let new = match read {
        Ok(new) => new,
        Err(error) => {
            app.models.forget_weights(&parts.weights).await?;
            return Err(error);
        }
    };
    let record = once.json(|model: &ModelRow| ModelObject::from(model.clone()));
    let model = to_the_end(async move { app.models.adopt(caller.project, new, record).await }).await?;
    Ok(Json(model.into()))
}

/// The fields of a form, in whatever order they come.
#[derive(Default)]
struct Parts {
    base_model: Option<String>,
    suffix: Option<String>,
    pooling: Option<Pooling>,
    configs: Vec<Bytes>,
    weights: Vec<BlobRef>,
}

impl Parts {
    async fn read(&mut self, app: &App, form: &mut Multipart) -> Result<(), ApiError> {
        while let Some(field) = form.next_field().await.map_err(broken_form)? {
            self.take(app, field).await?;
            if self.configs.len().max(self.weights.len()) > app.limits.adapter_sets {
                let message = format!("A model has at most {} adapter sets.", app.limits.adapter_sets);
                return Err(ServiceError::new(ErrorCode::TooManySets, message).at("weights").into());
            }
        }
        Ok(())
    }

    async fn take(&mut self, app: &App, field: Field<'_>) -> Result<(), ApiError> {
        match field.name().unwrap_or_default().to_owned().as_str() {
            "base_model" => self.base_model = Some(short_text(field).await?),
            "suffix" => self.suffix = Some(short_text(field).await?),
            "pooling" => self.pooling = Some(pooling(&short_text(field).await?)?),
            "config" => self.configs.push(config(field).await?),
            "weights" => {
                let checksum = checksums::of_part(field.headers())?;
                let filename = field.file_name().unwrap_or_default().to_owned();
                let received = app.models.receive_weights(&filename, checksum, field.map_err(FormError)).await;
                self.weights.push(received.map_err(|error| error.at("weights"))?);
            }
            other if is_label_name(other) => return Err(ServiceError::label_present(other, other).into()),
            other => {
                let message = format!("There is no field '{other}' in this form.");
                return Err(ServiceError::new(ErrorCode::UnknownField, message).at(other).into());
            }
        }
        Ok(())
    }

    fn whole(&mut self) -> Result<NewAdapters, ApiError> {
        let missing = |field: &str| {
            let message = format!("The form has no field '{field}'.");
            ApiError::from(ServiceError::new(ErrorCode::FieldMissing, message).at(field))
        };
        let base_model = self.base_model.take().ok_or_else(|| missing("base_model"))?;
        if self.configs.is_empty() {
            return Err(missing("config"));
        }
        if self.weights.is_empty() {
            return Err(missing("weights"));
        }
        if self.weights.len() != self.configs.len() {
            let message = "Send as many weights as config, one of each for a set.";
            return Err(ServiceError::new(ErrorCode::UnevenSets, message).at("weights").into());
        }
        let folders = self.configs.drain(..).zip(self.weights.drain(..));
        let sets = folders.map(|(config, weights)| AdapterSet { config, weights }).collect();
        Ok(NewAdapters { base_model, suffix: self.suffix.take(), pooling: self.pooling, sets })
    }
}

async fn config(mut field: Field<'_>) -> Result<Bytes, ApiError> {
    let mut json = Vec::new();
    while let Some(chunk) = field.chunk().await.map_err(broken_form)? {
        json.extend_from_slice(&chunk);
        if json.len() > CONFIG_BYTES {
            let message = format!("config: at most {CONFIG_BYTES} bytes.");
            return Err(ServiceError::new(ErrorCode::InvalidAdapterConfig, message).at("config").into());
        }
    }
    if let Some(place) = first_twice(&json) {
        let message = format!("config: '{place}' stands twice in one object; write it once.");
        return Err(ServiceError::new(ErrorCode::InvalidAdapterConfig, message).at("config").into());
    }
    Ok(json.into())
}

fn pooling(word: &str) -> Result<Pooling, ApiError> {
    serde_json::from_value(word.into()).map_err(|_| {
        let message = format!("pooling: '{word}' is not cls, mean, last, eos or none.");
        ServiceError::new(ErrorCode::InvalidSetting, message).at("pooling").into()
    })
}
