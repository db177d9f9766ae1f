//! Adapters in PEFT's form. Owns the way between the flat vector and PEFT's named matrices, so that what we save loads there.

use bytes::Bytes;
use bytes::BytesMut;
use serde_json::Value;
use serde_json::json;

use crate::domain::error_code::ErrorCode;
use crate::domain::settings::SplitSettings;
use crate::domain::tensor::Dtype;
use crate::domain::tensor::WireTensor;
use crate::engine::SessionInfo;
use crate::engine::Slot;
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
    pub slots: Vec<Slot>,
    /// PEFT's `adapter_config.json`.
    pub peft_config: Value,
}

impl AdapterLayout {
    /// The layout of a session with these settings on this backbone.
    pub fn new(base_model: &str, settings: &SplitSettings, info: &SessionInfo) -> Self {
        Self {
            adapter_sets: settings.adapter_sets,
            parameters: info.adapter_parameters,
            slots: info.layout.clone(),
            peft_config: peft_config(base_model, settings, &info.target_modules),
        }
    }

    /// One tensor for each matrix, named as PEFT names them.
    pub fn unflatten(&self, theta: &WireTensor) -> Result<Vec<WireTensor>> {
        let matrices = self.slots.iter().map(|slot| {
            let (start, length) = (slot.offset * 4, slot.shape[0] * slot.shape[1] * 4);
            WireTensor::new(&slot.name, Dtype::F32, slot.shape.to_vec(), theta.bytes().slice(start..start + length))
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
        for slot in &self.slots {
            let Some(place) = tensors.iter().position(|tensor| tensor.name() == slot.name) else {
                return Err(refuse(
                    &slot.name,
                    format!("is missing; send all {} matrices, or {name}", self.slots.len()),
                ));
            };
            let tensor = tensors.swap_remove(place);
            if tensor.dtype() != Dtype::F32 || tensor.shape() != slot.shape {
                return Err(refuse(&slot.name, format!("must be F32 of shape {:?}", slot.shape)));
            }
            flat[slot.offset * 4..slot.offset * 4 + tensor.bytes().len()].copy_from_slice(tensor.bytes());
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
