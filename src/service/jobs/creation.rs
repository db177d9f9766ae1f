//! How a job comes to be: what it is asked for, what it begins from, and its first events. Owns the checks before the first
//! state; what happens to a job later is `jobs`'.

use std::collections::BTreeMap;

use serde_json::Value;
use uuid::Uuid;

use crate::domain::choice::MethodChoice;
use crate::domain::choice::SplitChoice;
use crate::domain::error_code::ErrorCode;
use crate::domain::families;
use crate::domain::ids::FileId;
use crate::domain::ids::JobId;
use crate::domain::ids::KeyId;
use crate::domain::ids::ProjectId;
use crate::domain::job::JobState;
use crate::domain::limits::LARGEST_WHOLE;
use crate::domain::protection::Protection;
use crate::domain::settings::BadSetting;
use crate::domain::settings::SplitSettings;
use crate::engine::snapshot_adapters;
use crate::service::access::idempotency::AnswerRecord;
use crate::service::context::Context;
use crate::service::context::Result;
use crate::service::context::commit;
use crate::service::error::ServiceError;
use crate::service::error::setting_path;
use crate::service::features::admission::Asked;
use crate::service::features::admission::Planned;
use crate::service::features::admission::Rows;
use crate::service::files::INPUTS;
use crate::service::jobs::jobs::Jobs;
use crate::service::lifecycle::metadata::check_metadata;
use crate::service::lifecycle::transitions::admit;
use crate::service::lifecycle::transitions::note;
use crate::service::models::tuned::check_suffix;
use crate::service::training::checkpointing;
use crate::store::Connection;
use crate::store::Tx;
use crate::store::blobs::BlobKind;
use crate::store::checkpoints;
use crate::store::events::Level;
use crate::store::files;
use crate::store::jobs;
use crate::store::jobs::JobRow;
use crate::store::jobs::Metadata;
use crate::store::jobs::NewFeatures;
use crate::store::jobs::NewJob as NewJobRow;
use crate::store::jobs::Origin;
use crate::store::models;
use crate::store::models::AdapterBlobs;
use crate::store::models::ModelRow;
use crate::store::projects;

/// What a client asks for.
#[derive(Debug, Clone)]
pub struct NewJob {
    /// Name of a backbone, or of a fine-tuned model or checkpoint of the project to continue from.
    pub model: String,
    /// The inputs, when rows are to be read from a file.
    pub training_file: Option<FileId>,
    /// Part of the fine-tuned model's name.
    pub suffix: Option<String>,
    /// Seed of adapters and dropout; drawn when absent.
    pub seed: Option<i64>,
    /// The client's own key-value pairs.
    pub metadata: Option<BTreeMap<String, String>>,
    /// The client's own records: an object that the host does not read.
    pub hyperparameters: Value,
    /// The method and its settings, as far as the client names them.
    pub method: MethodChoice,
    /// Class of protection that the client declares.
    pub protection: Option<Protection>,
}

/// What a job begins from.
struct Beginning {
    backbone: ModelRow,
    settings: SplitSettings,
    origin: Option<Origin>,
    features: Option<Planned>,
}

impl Jobs {
    /// Makes a job; it runs at once when the project has room, and queues otherwise.
    pub async fn create(
        &self,
        project: ProjectId,
        key: KeyId,
        new: NewJob,
        record: AnswerRecord<JobRow>,
    ) -> Result<JobRow> {
        check_suffix(new.suffix.as_deref())?;
        check_metadata(new.metadata.as_ref())?;
        check_seed(new.seed)?;
        let planned = self.plan(project, &new).await?;
        let mut transaction = self.context.begin().await?;
        let beginning = match (planned, new.method.clone()) {
            (None, MethodChoice::Split(choice)) => {
                begin(&self.context, &mut transaction, project, &new.model, choice).await?
            }
            (planned, _) => of_features(planned)?,
        };
        if let Some(file) = new.training_file {
            check_file(&mut transaction, project, file).await?;
        }
        self.check_room(&mut transaction, project).await?;
        if let Some(planned) = &beginning.features {
            self.features.check_room(&mut transaction, project, key, planned).await?;
        }
        let metadata = new.metadata.map(Metadata);
        let row = NewJobRow {
            id: JobId(Uuid::now_v7()),
            project,
            model: beginning.backbone.id,
            model_name: &new.model,
            training_file: new.training_file,
            status: JobState::Queued,
            suffix: new.suffix.as_deref(),
            seed: new.seed.unwrap_or_else(|| i64::from(rand::random::<u32>() >> 1)),
            settings: &beginning.settings,
            metadata: metadata.as_ref(),
            origin: beginning.origin.as_ref(),
            hyperparameters: &new.hyperparameters,
            key,
            // Nothing that a features job is sent depends on a label.
            protection: new.protection.or(beginning.features.as_ref().map(|_| Protection::Blind)),
            features: beginning.features.as_ref().map(new_features),
        };
        let job = jobs::insert(&mut transaction, &row).await?;
        first_events(&mut transaction, &job).await?;
        let job = admit(&mut transaction, &self.context.limits, job).await?;
        record.write(&mut transaction, &job).await?;
        commit(transaction).await?;
        tracing::info!(job.id = %job.id, project.id = %project, "created {}", job.id);
        self.features.wake();
        Ok(job)
    }

    /// What a features job would take; no transaction is held while its file is looked at.
    async fn plan(&self, project: ProjectId, new: &NewJob) -> Result<Option<Planned>> {
        let MethodChoice::Features(settings) = &new.method else { return Ok(None) };
        let asked = Asked { model: &new.model, rows: Rows::File(new.training_file), settings };
        Ok(Some(self.features.plan(project, asked).await?))
    }

    async fn check_room(&self, connection: &mut Connection, project: ProjectId) -> Result<()> {
        projects::hold(connection, project).await?;
        let counts = jobs::counts(connection, project).await?;
        let most = self.context.limits.jobs_per_project;
        if counts.open >= i64::from(most) {
            return Err(ServiceError::new(ErrorCode::TooManyJobs, format!("A project has at most {most} open jobs.")));
        }
        Ok(())
    }
}

/// What a features job begins from: the bare backbone.
fn of_features(planned: Option<Planned>) -> Result<Beginning> {
    let planned = planned.ok_or_else(|| ServiceError::internal("a features job without a plan"))?;
    let (backbone, settings) = (planned.backbone.clone(), planned.session.clone());
    Ok(Beginning { backbone, settings, origin: None, features: Some(planned) })
}

fn new_features(planned: &Planned) -> NewFeatures<'_> {
    NewFeatures { settings: &planned.settings, rows: planned.rows.cast_signed(), bytes: planned.bytes.cast_signed() }
}

/// In words that users of OpenAI's API know.
async fn first_events(connection: &mut Connection, job: &JobRow) -> Result<()> {
    note(connection, job, Level::Info, &format!("Created fine-tuning job: {}", job.id)).await?;
    if let Some(file) = job.training_file {
        note(connection, job, Level::Info, &format!("Validating training file: {file}")).await?;
        note(connection, job, Level::Info, "Files validated, moving job to queued state").await?;
    }
    Ok(())
}

/// What the name stands for: a backbone, or adapters of the project's own to continue from.
async fn begin(
    context: &Context,
    transaction: &mut Tx,
    project: ProjectId,
    name: &str,
    choice: SplitChoice,
) -> Result<Beginning> {
    let unknown = || ServiceError::not_found("model", name).at("model");
    let (base, made_with, adapters) = match models::get_visible(transaction, project, name).await? {
        Some(backbone) if backbone.project.is_none() => {
            let settings = choice.afresh();
            settings.check(&context.limits)?;
            let settings = families::settle(&backbone.family, settings)?;
            return Ok(Beginning { backbone, settings, origin: None, features: None });
        }
        Some(_) => {
            // Read again under a lock, so that its adapters are not deleted before the job names them.
            let model = models::get_visible_to_keep(transaction, project, name).await?.ok_or_else(unknown)?;
            (model.base_model, model.settings, model.adapters)
        }
        None => {
            let found = checkpoints::get_by_name(transaction, project, name).await?.ok_or_else(unknown)?;
            let job = jobs::get(transaction, project, found.job).await?.ok_or_else(unknown)?;
            let bytes = checkpointing::read(context, &found).await?;
            (Some(job.model), Some(job.settings), copy_adapters(context, bytes).await?)
        }
    };
    let backbone = match base {
        Some(base) => models::get(transaction, base).await?.ok_or_else(unknown)?,
        None => return Err(unknown()),
    };
    let made_with = made_with.ok_or_else(|| {
        let message = "The settings that this model was made with are not known; start from its backbone.";
        ServiceError::new(ErrorCode::UnsupportedModel, message).at("model")
    })?;
    let differs = |bad: BadSetting| {
        let path = setting_path(&bad.setting);
        ServiceError::new(ErrorCode::SettingsDiffer, format!("{path}: {}.", bad.reason)).at(path)
    };
    let settings = choice.continuing(&made_with).map_err(differs)?;
    settings.check(&context.limits)?;
    let settings = families::settle(&backbone.family, settings)?;
    let origin = Some(Origin { name: name.to_owned(), adapters });
    Ok(Beginning { backbone, settings, origin, features: None })
}

/// A checkpoint's adapters as blobs of their own: the checkpoint may go before the job has begun.
async fn copy_adapters(context: &Context, snapshot: bytes::Bytes) -> Result<AdapterBlobs> {
    let mut copies = AdapterBlobs::default();
    for theta in snapshot_adapters(snapshot)? {
        copies.0.push(context.blobs.put_atomic(BlobKind::Adapters, theta.bytes().clone()).await?);
    }
    Ok(copies)
}

async fn check_file(connection: &mut Connection, project: ProjectId, id: FileId) -> Result<()> {
    let missing = || ServiceError::not_found("file", id).at("training_file");
    let file = files::get(connection, project, id).await?.ok_or_else(missing)?;
    if file.purpose != INPUTS {
        let message = format!("The file's purpose is '{}'; a training_file has '{INPUTS}'.", file.purpose);
        return Err(ServiceError::new(ErrorCode::InvalidPurpose, message).at("training_file"));
    }
    Ok(())
}

/// A seed is a number that JSON's readers give back as it was.
fn check_seed(seed: Option<i64>) -> Result<()> {
    if seed.is_some_and(|seed| seed.unsigned_abs() > LARGEST_WHOLE.unsigned_abs()) {
        return Err(ServiceError::new(ErrorCode::InvalidSeed, "seed: at most 9007199254740991.").at("seed"));
    }
    Ok(())
}
