//! Adapters in PEFT's form. Owns the way between the flat vector and PEFT's named matrices, so that what we save loads there.

use bytes::Bytes;
use bytes::BytesMut;
use serde_json::Value;
use serde_json::json;

use crate::domain::error_code::ErrorCode;
use crate::domain::settings::SplitSettings;
use crate::domain::tensor::Dtype;
use crate::domain::tensor::WireTensor;
use crate::engine::AdapterMatrix;
use crate::engine::SessionInfo;
use crate::service::context::Result;
use crate::service::error::ServiceError;

/// How a job's adapters are laid out.
#[derive(Debug, Clone)]
pub struct AdapterLayout {
    /// Number n of adapter sets.
    pub adapter_sets: usize,
    /// Length P of a set's flat vector.
    pub parameters: usize,
    /// Where each matrix stands in it.
    pub matrices: Vec<AdapterMatrix>,
    /// PEFT's `adapter_config.json`.
    pub peft_config: Value,
}

impl AdapterLayout {
    /// The layout of a session with these settings on this backbone.
    pub fn new(base_model: &str, settings: &SplitSettings, info: &SessionInfo) -> Self {
        Self {
            adapter_sets: settings.adapter_sets,
            parameters: info.adapter_parameters,
            matrices: info.layout.clone(),
            peft_config: peft_config(base_model, settings, &info.target_modules),
        }
    }

    /// One tensor for each matrix, named as PEFT names them.
    pub fn unflatten(&self, theta: &WireTensor) -> Result<Vec<WireTensor>> {
        let matrices = self.matrices.iter().map(|matrix| {
            let start = matrix.offset * 4;
            let length = matrix.shape[0] * matrix.shape[1] * 4;
            WireTensor::new(&matrix.name, Dtype::F32, matrix.shape.to_vec(), theta.bytes().slice(start..start + length))
        });
        matrices.collect::<std::result::Result<_, _>>().map_err(ServiceError::internal)
    }

    /// The flat vector of a set from `theta.{set}` or from PEFT's matrices, all of them.
    pub fn flatten(&self, set: usize, mut tensors: Vec<WireTensor>) -> Result<WireTensor> {
        let name = format!("theta.{set}");
        let refuse = |param: &str, reason: String| {
            ServiceError::new(ErrorCode::TensorInvalid, format!("{param}: {reason}")).at(param)
        };
        if let [only] = tensors.as_slice()
            && [name.as_str(), "theta"].contains(&only.name())
        {
            return Ok(tensors.remove(0).renamed(name));
        }
        let mut flat = BytesMut::zeroed(self.parameters * 4);
        for matrix in &self.matrices {
            let Some(index) = tensors.iter().position(|tensor| tensor.name() == matrix.name) else {
                let reason = format!("is missing; send all {} matrices, or {name}", self.matrices.len());
                return Err(refuse(&matrix.name, reason));
            };
            let tensor = tensors.swap_remove(index);
            if tensor.dtype() != Dtype::F32 || tensor.shape() != matrix.shape {
                return Err(refuse(&matrix.name, format!("must be F32 of shape {:?}", matrix.shape)));
            }
            flat[matrix.offset * 4..matrix.offset * 4 + tensor.bytes().len()].copy_from_slice(tensor.bytes());
        }
        if let Some(extra) = tensors.first() {
            return Err(refuse(extra.name(), "is not a matrix of these adapters".into()));
        }
        WireTensor::new(name, Dtype::F32, vec![self.parameters], Bytes::from(flat)).map_err(ServiceError::internal)
    }
}

fn peft_config(model: &str, settings: &SplitSettings, target_modules: &[String]) -> Value {
    let lora = &settings.lora;
    json!({
        "peft_type": "LORA",
        "task_type": "FEATURE_EXTRACTION",
        "base_model_name_or_path": model,
        "r": lora.rank,
        "lora_alpha": lora.alpha,
        "lora_dropout": lora.dropout,
        "use_rslora": lora.use_rslora,
        "rank_pattern": lora.rank_pattern,
        "alpha_pattern": lora.alpha_pattern,
        "target_modules": target_modules,
        "bias": "none",
        "fan_in_fan_out": false,
        "init_lora_weights": true,
        "inference_mode": true,
        "modules_to_save": null,
    })
}
