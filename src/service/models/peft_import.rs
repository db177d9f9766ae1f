//! Adapters on their way in: PEFT folders that become a fine-tuned model. Owns which LoRA configurations this host computes
//! exactly; all others are refused by name, and so is anything that could run code.

use std::path::PathBuf;

use bytes::Bytes;
use futures::Stream;
use serde_json::Map;
use serde_json::Value;
use uuid::Uuid;

use crate::domain::error_code::ErrorCode;
use crate::domain::families;
use crate::domain::ids::ProjectId;
use crate::domain::settings::BadSetting;
use crate::domain::settings::LoraSettings;
use crate::domain::settings::Pooling;
use crate::domain::settings::SplitSettings;
use crate::domain::tensor::Dtype;
use crate::domain::tensor::WireTensor;
use crate::engine::EngineError;
use crate::engine::codec;
use crate::service::access::idempotency::AnswerRecord;
use crate::service::access::stored_bytes::check_room;
use crate::service::context::Context;
use crate::service::context::Result;
use crate::service::context::commit;
use crate::service::error::ServiceError;
use crate::service::files::checksum::Checksum;
use crate::service::files::checksum::check;
use crate::service::files::receive::receive;
use crate::service::files::tensor_metadata::check_tensor_metadata;
use crate::service::inference::probing::Candidate;
use crate::service::inference::probing::check_candidate;
use crate::service::models::models::Models;
use crate::service::models::peft_export::layout;
use crate::service::models::peft_layout::AdapterLayout;
use crate::service::models::tuned::check_suffix;
use crate::service::models::tuned::tuned_name;
use crate::store::blobs::BlobKind;
use crate::store::blobs::BlobRef;
use crate::store::models;
use crate::store::models::AdapterBlobs;
use crate::store::models::ModelRow;
use crate::store::models::TunedModel;

/// Fields of `adapter_config.json` that change nothing in how a forward is computed.
const HARMLESS: &[&str] = &[
    "auto_mapping",
    "base_model_name_or_path",
    "corda_config",
    "ensure_weight_tying",
    "eva_config",
    "inference_mode",
    "layers_pattern",
    "loftq_config",
    "lora_ga_config",
    "megatron_core",
    "peft_version",
    "qalora_group_size",
    "revision",
    "runtime_config",
    "task_type",
];

/// One PEFT folder, received.
pub struct AdapterSet {
    /// `adapter_config.json`.
    pub config: Bytes,
    /// `adapter_model.safetensors`, as a blob that goes when the model is made or refused.
    pub weights: BlobRef,
}

/// Adapters to be taken over as a model.
pub struct NewAdapters {
    /// Name of the backbone.
    pub base_model: String,
    /// Part of the model's name.
    pub suffix: Option<String>,
    /// Where the backbone is cut; the family's own cut when absent.
    pub pooling: Option<Pooling>,
    /// One folder for each adapter set, in order.
    pub sets: Vec<AdapterSet>,
}

impl Models {
    /// Streams a weights file to the blob store. It must be given to [`Models::adopt`] or [`Models::forget_weights`].
    pub async fn receive_weights<E>(
        &self,
        filename: &str,
        checksum: Option<Checksum>,
        body: impl Stream<Item = std::result::Result<Bytes, E>>,
    ) -> Result<BlobRef>
    where
        ServiceError: From<E>,
    {
        let extension = filename.rsplit_once('.').map(|(_, extension)| extension.to_ascii_lowercase());
        if matches!(extension.as_deref(), Some("bin" | "pt" | "pth" | "ckpt" | "pkl" | "pickle")) {
            return Err(pickle());
        }
        let limit = self.context.limits.tensor_body_bytes as u64;
        let blob = receive(&self.context, BlobKind::Parts, body, limit).await?;
        if let Err(differs) = check(checksum.as_slice(), &blob.sha256) {
            self.forget_weights(&[blob]).await?;
            return Err(differs);
        }
        Ok(blob)
    }

    /// Deletes received weights that no model will be made of.
    pub async fn forget_weights(&self, weights: &[BlobRef]) -> Result<()> {
        for blob in weights {
            self.context.blobs.delete(&blob.path).await?;
        }
        Ok(())
    }

    /// Makes a fine-tuned model of PEFT folders.
    pub async fn adopt(
        &self,
        project: ProjectId,
        new: NewAdapters,
        record: AnswerRecord<ModelRow>,
    ) -> Result<ModelRow> {
        let received: Vec<BlobRef> = new.sets.iter().map(|set| set.weights.clone()).collect();
        let made = self.make(project, new, &record).await;
        self.forget_weights(&received).await?;
        made
    }

    async fn make(&self, project: ProjectId, new: NewAdapters, record: &AnswerRecord<ModelRow>) -> Result<ModelRow> {
        check_suffix(new.suffix.as_deref())?;
        let backbone = self.get(project, &new.base_model).await.map_err(|error| error.at("base_model"))?;
        if backbone.project.is_some() {
            let message = "base_model: name the backbone that the adapters were made on.";
            return Err(ServiceError::new(ErrorCode::UnsupportedModel, message).at("base_model"));
        }
        let name = tuned_name(&backbone.name, project, new.suffix.as_deref(), Uuid::now_v7());
        let settings = settings(&self.context, &backbone, &new)?;
        let layout = layout_of(&self.context, &backbone, &settings).await?;
        let mut values = Vec::new();
        for (set, folder) in new.sets.iter().enumerate() {
            values.push(self.flat(&layout, set, &folder.weights).await?);
        }
        let folder = PathBuf::from(backbone.folder.clone().unwrap_or_default());
        let candidate = Candidate { project, folder, settings: settings.clone(), values: values.clone() };
        check_candidate(&self.context, candidate).await?;
        let bytes = values.iter().map(|theta| theta.bytes().len() as u64).sum();
        check_room(&self.context, &mut *self.context.connection().await?, project, bytes).await?;
        let mut adapters = AdapterBlobs::default();
        for theta in values {
            adapters.0.push(self.context.blobs.put_atomic(BlobKind::Adapters, theta.bytes().clone()).await?);
        }
        let tuned = TunedModel {
            project,
            name: &name,
            base_model: backbone.id,
            adapters: &adapters,
            settings: &settings,
            owned_by: &project.to_string(),
        };
        let mut transaction = self.context.begin().await?;
        let model = models::insert_tuned(&mut transaction, &tuned).await?;
        record.write(&mut transaction, &model).await?;
        commit(transaction).await?;
        tracing::info!(project.id = %project, model = name, "took over {name}");
        Ok(model)
    }

    /// The flat vector of a weights file, checked as a client's body is.
    async fn flat(&self, layout: &AdapterLayout, set: usize, weights: &BlobRef) -> Result<WireTensor> {
        let bytes = self.context.blobs.get_verified(weights).await?;
        // PyTorch's own files are a zip or a bare pickle, whatever their name; safetensors has its header from byte 8 on.
        if bytes.get(8) != Some(&b'{') && (bytes.starts_with(b"PK") || bytes.starts_with(&[0x80])) {
            return Err(pickle());
        }
        let parsed = codec::parse_safetensors(bytes, &self.context.limits.for_adapters());
        let (tensors, metadata) = parsed.map_err(|error| ServiceError::from(error).at("weights"))?;
        check_tensor_metadata(&metadata)?;
        let theta = layout.flatten(set, tensors)?;
        if theta.shape() != [layout.parameters] || theta.dtype() != Dtype::F32 || !theta.is_finite() {
            let message = format!("weights: set {set} needs {} finite F32 values.", layout.parameters);
            return Err(ServiceError::new(ErrorCode::TensorInvalid, message).at("weights"));
        }
        Ok(theta)
    }
}

fn pickle() -> ServiceError {
    let message = "weights: pickle files can run code; send adapter_model.safetensors (save_pretrained writes it).";
    ServiceError::new(ErrorCode::PickleRefused, message).at("weights")
}

fn bad(message: impl Into<String>) -> ServiceError {
    ServiceError::new(ErrorCode::InvalidAdapterConfig, message).at("config")
}

/// The settings that all folders share.
fn settings(context: &Context, backbone: &ModelRow, new: &NewAdapters) -> Result<SplitSettings> {
    let mut loras = new.sets.iter().map(|set| read_config(&set.config)).collect::<Result<Vec<_>>>()?;
    let Some(lora) = loras.pop() else {
        return Err(
            ServiceError::new(ErrorCode::AdaptersMissing, "Send a config and weights for each set.").at("config")
        );
    };
    if loras.iter().any(|other| *other != lora) {
        return Err(bad("adapter_config.json: all sets of a model have the same settings."));
    }
    let settings =
        SplitSettings { adapter_sets: new.sets.len(), lora, pooling: new.pooling, ..SplitSettings::default() };
    settings.check(&context.limits).map_err(named)?;
    families::settle(&backbone.family, settings).map_err(named)
}

/// A refused setting, under the name of the form's field.
fn named(error: BadSetting) -> ServiceError {
    let place = if error.setting == "pooling" { "pooling" } else { "config" };
    bad(format!("{error}.")).at(place)
}

async fn layout_of(context: &Context, backbone: &ModelRow, settings: &SplitSettings) -> Result<AdapterLayout> {
    layout(context, backbone, settings).await.map_err(|error| match error {
        EngineError::Invalid { place, reason } => bad(format!("{place}: {reason}")),
        other => other.into(),
    })
}

/// Reads `adapter_config.json`. A field that this host does not know must be empty: it may change what is computed.
fn read_config(json: &[u8]) -> Result<LoraSettings> {
    let fields: Map<String, Value> =
        serde_json::from_slice(json).map_err(|error| bad(format!("adapter_config.json: {error}.")))?;
    if fields.get("peft_type").and_then(Value::as_str) != Some("LORA") {
        return Err(bad("peft_type: must be LORA."));
    }
    for (name, value) in &fields {
        check_field(name, value)?;
    }
    let defaults = LoraSettings { alpha: 8.0, ..LoraSettings::default() };
    let mut target_modules: Vec<String> = match fields.get("target_modules") {
        Some(Value::String(word)) if word == "all-linear" => vec![word.clone()],
        Some(Value::String(_)) => return Err(bad("target_modules: a pattern is not taken; list the modules.")),
        _ => read(&fields, "target_modules")?.unwrap_or_default(),
    };
    target_modules.sort(); // PEFT keeps a set, and writes it in any order
    Ok(LoraSettings {
        rank: read(&fields, "r")?.unwrap_or(defaults.rank),
        alpha: read(&fields, "lora_alpha")?.unwrap_or(defaults.alpha),
        dropout: read(&fields, "lora_dropout")?.unwrap_or(defaults.dropout),
        target_modules,
        use_rslora: read(&fields, "use_rslora")?.unwrap_or(false),
        rank_pattern: read(&fields, "rank_pattern")?.unwrap_or_default(),
        alpha_pattern: read(&fields, "alpha_pattern")?.unwrap_or_default(),
    })
}

fn read<T: serde::de::DeserializeOwned>(fields: &Map<String, Value>, name: &str) -> Result<Option<T>> {
    let value = fields.get(name).filter(|value| !value.is_null()).cloned();
    value.map(|value| serde_json::from_value(value).map_err(|error| bad(format!("{name}: {error}.")))).transpose()
}

fn check_field(name: &str, value: &Value) -> Result<()> {
    let empty = match value {
        Value::Null | Value::Bool(false) => true,
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
        _ => false,
    };
    match name {
        "peft_type" | "r" | "lora_alpha" | "lora_dropout" | "target_modules" => Ok(()),
        "use_rslora" | "rank_pattern" | "alpha_pattern" => Ok(()),
        "bias" if empty || value == "none" => Ok(()),
        "bias" => Err(bad("bias: only 'none' is supported; the backbone stays as it is.")),
        "use_dora" if !empty => Err(bad("use_dora: DoRA is not supported; this host computes plain LoRA.")),
        "modules_to_save" if !empty => {
            Err(bad("modules_to_save: heads stay with the label holder; save the adapters without them."))
        }
        "init_lora_weights" => check_start(value),
        _ if empty || HARMLESS.contains(&name) => Ok(()),
        _ => Err(bad(format!("{name}: is not supported; leave it empty."))),
    }
}

/// Some initialisations change the backbone's own weights; adapters saved from them do not fit the plain backbone.
fn check_start(value: &Value) -> Result<()> {
    let word = value.as_str().unwrap_or_default().to_ascii_lowercase();
    match ["pissa", "olora", "loftq", "corda"].iter().find(|start| word.starts_with(*start)) {
        None => Ok(()),
        Some(start) => {
            let message =
                format!("init_lora_weights: {start} changes the backbone; convert the adapters to plain LoRA.");
            Err(bad(message))
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read_value(value: &Value) -> Result<LoraSettings> {
        read_config(value.to_string().as_bytes())
    }

    #[test]
    fn a_configuration_as_peft_writes_it_is_read() {
        let lora = read_value(&json!({
            "peft_type": "LORA", "task_type": "FEATURE_EXTRACTION", "base_model_name_or_path": "x", "r": 4, "lora_alpha": 32,
            "lora_dropout": 0.1, "target_modules": ["value", "query"], "bias": "none", "use_dora": false, "use_rslora": true,
            "rank_pattern": {"query": 2}, "alpha_pattern": {}, "modules_to_save": null, "init_lora_weights": true,
            "layers_to_transform": null, "loftq_config": {}, "inference_mode": true, "qalora_group_size": 16,
        }));
        let lora = lora.expect("is plain LoRA");
        assert_eq!((lora.rank, lora.alpha, lora.dropout, lora.use_rslora), (4, 32.0, 0.1, true));
        assert_eq!(
            (lora.target_modules, lora.rank_pattern["query"]),
            (vec!["query".to_owned(), "value".to_owned()], 2)
        );
    }

    #[test]
    fn what_this_host_would_not_compute_is_refused_by_name() {
        let cases = [
            ("peft_type", json!("IA3")),
            ("peft_type", json!(null)),
            ("use_dora", json!(true)),
            ("bias", json!("all")),
            ("modules_to_save", json!(["classifier"])),
            ("target_modules", json!(".*query")),
            ("layers_to_transform", json!([1])),
            ("init_lora_weights", json!("pissa_niter_4")),
            ("some_new_variant", json!(true)),
            ("fan_in_fan_out", json!(true)),
            ("r", json!("x")),
            ("lora_alpha", json!([])),
        ];
        for (field, value) in cases {
            let mut config = json!({"peft_type": "LORA", "r": 4});
            config[field] = value.clone();
            let refused = read_value(&config).expect_err(field);
            assert!(refused.message.starts_with(field) && refused.code == ErrorCode::InvalidAdapterConfig, "{refused}");
        }
        assert!(read_config(b"not json").is_err() && read_config(b"[]").is_err());
    }
}
