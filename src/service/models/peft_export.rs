//! Adapters on their way out, as PEFT folders in a zip: what `peft.PeftModel.from_pretrained` loads. Owns the names in it; an
//! archive lies in a temporary file, so that only one adapter set is in memory twice.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Seek;
use std::io::Write;
use std::path::PathBuf;

use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use zip::CompressionMethod;
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use crate::domain::error_code::ErrorCode;
use crate::domain::ids::ProjectId;
use crate::domain::settings::SplitSettings;
use crate::domain::tensor::WireTensor;
use crate::engine::EngineError;
use crate::engine::codec::write_safetensors;
use crate::service::context::Context;
use crate::service::context::Result;
use crate::service::error::ServiceError;
use crate::service::models::models::Models;
use crate::service::models::peft_layout::AdapterLayout;
use crate::service::models::tuned::read_adapters;
use crate::store::models;
use crate::store::models::ModelRow;

/// Bytes read from the archive at once.
const CHUNK_BYTES: usize = 256 * 1024;

/// A zip of PEFT folders.
pub struct Folder {
    /// Its size.
    pub bytes: u64,
    /// Its bytes.
    pub stream: BoxStream<'static, std::io::Result<Bytes>>,
}

impl Models {
    /// A fine-tuned model's adapters: a folder for each set, or the files of one.
    pub async fn folder(&self, project: ProjectId, name: &str, set: Option<usize>) -> Result<Folder> {
        let model = self.get(project, name).await?;
        let (Some(base), Some(settings)) = (model.base_model, model.settings) else {
            let message = "This model has no adapters: it is a backbone.";
            return Err(ServiceError::new(ErrorCode::NoAdapters, message).at("model"));
        };
        let backbone = models::get(&mut *self.context.connection().await?, base).await?;
        let backbone = backbone.ok_or_else(|| ServiceError::not_found("model", name))?;
        let layout = layout(&self.context, &backbone, &settings).await?;
        pack(layout, read_adapters(&self.context, &model.adapters).await?, set).await
    }
}

/// How adapters with these settings are laid out on a backbone, without a job.
pub async fn layout(
    context: &Context,
    backbone: &ModelRow,
    settings: &SplitSettings,
) -> std::result::Result<AdapterLayout, EngineError> {
    let folder = PathBuf::from(backbone.folder.clone().unwrap_or_default());
    let info = context.engine.describe(folder, settings.clone()).await?;
    Ok(AdapterLayout::new(&backbone.name, settings, &info))
}

/// Writes adapters into an archive: a folder for each set, or the files of one.
pub async fn pack(layout: AdapterLayout, sets: Vec<WireTensor>, only: Option<usize>) -> Result<Folder> {
    if let Some(set) = only.filter(|set| *set >= sets.len()) {
        return Err(ServiceError::not_found("adapter set", set));
    }
    if sets.iter().any(|theta| theta.len() != layout.parameters) {
        let message = "The backbone is not the one that these adapters were made on.";
        return Err(ServiceError::new(ErrorCode::BackboneUnusable, message));
    }
    let archive = tokio::task::spawn_blocking(move || write(&layout, &sets, only));
    let file = tokio::fs::File::from_std(archive.await.map_err(ServiceError::internal)??);
    let bytes = file.metadata().await.map_err(ServiceError::internal)?.len();
    Ok(Folder { bytes, stream: tokio_util::io::ReaderStream::with_capacity(file, CHUNK_BYTES).boxed() })
}

fn write(layout: &AdapterLayout, sets: &[WireTensor], only: Option<usize>) -> Result<File> {
    let mut archive = ZipWriter::new(tempfile::tempfile().map_err(ServiceError::internal)?);
    for (set, theta) in sets.iter().enumerate().filter(|(set, _)| only.is_none_or(|only| only == *set)) {
        let folder = if only.is_some() { String::new() } else { format!("set_{set}/") };
        let config = serde_json::to_vec_pretty(&layout.peft_config).map_err(ServiceError::internal)?;
        add(&mut archive, format!("{folder}adapter_config.json"), &config)?;
        let format = BTreeMap::from([("format".to_owned(), "pt".to_owned())]);
        let weights = write_safetensors(&layout.unflatten(theta)?, &format)?;
        add(&mut archive, format!("{folder}adapter_model.safetensors"), &weights)?;
    }
    let mut file = archive.finish().map_err(ServiceError::internal)?;
    file.rewind().map_err(ServiceError::internal)?;
    Ok(file)
}

fn add(archive: &mut ZipWriter<File>, name: String, bytes: &[u8]) -> Result<()> {
    // Floats do not compress; the same adapters always give the same bytes.
    let options = SimpleFileOptions::default()
        .compression_method(CompressionMethod::Stored)
        .last_modified_time(zip::DateTime::default())
        .unix_permissions(0o644);
    archive.start_file(name, options).map_err(ServiceError::internal)?;
    archive.write_all(bytes).map_err(ServiceError::internal)
}
