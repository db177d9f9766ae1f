//! The same features of other texts: a call for activations that names a features job. Owns what the name stands for; must never run
//! the call.

use crate::domain::error_code::ErrorCode;
use crate::domain::ids::ProjectId;
use crate::domain::taps::TapChoice;
use crate::service::context::Result;
use crate::service::error::ServiceError;
use crate::service::features::worker::Features;
use crate::service::inference::ActivationsRequest;
use crate::store::jobs;

impl Features {
    /// The call with what its features job stands for; any other as it is.
    pub async fn like(&self, project: ProjectId, request: ActivationsRequest) -> Result<ActivationsRequest> {
        let Some(id) = request.like else { return Ok(request) };
        let job = jobs::get(&mut *self.context.connection().await?, project, id).await?;
        let job = job.ok_or_else(|| ServiceError::not_found("fine-tuning job", id).at("like"))?;
        let Some(settings) = job.features.clone() else {
            let message = format!("like: {id} is no features job.");
            return Err(ServiceError::new(ErrorCode::InvalidSetting, message).at("like"));
        };
        if request.model != job.model_name {
            let message = format!("model: the features of {id} are those of {}.", job.model_name);
            return Err(ServiceError::new(ErrorCode::SettingsDiffer, message).at("model"));
        }
        let transform = match settings.needs_transform() {
            false => None,
            true if job.result_files.is_empty() => {
                let message = "like: the job has no transform yet; try again when it has its first result file.";
                return Err(ServiceError::new(ErrorCode::InvalidJobState, message).at("like"));
            }
            true => Some(self.stored_transform(&job).await?.ok_or_else(|| {
                let message = "like: the job's transform, its first result file, was deleted or has expired.";
                ServiceError::new(ErrorCode::FileDeleted, message).at("like")
            })?),
        };
        let taps = TapChoice {
            layers: settings.layers.clone(),
            tokens: settings.tokens.taps(),
            dtype: settings.dtype,
            transform,
        };
        Ok(ActivationsRequest { taps: Some(taps), precision: Some(settings.precision), ..request })
    }
}
