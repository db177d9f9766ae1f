//! What a features job would take, before it is made. Owns its checks against the backbone, the file, the project's storage and the
//! budgets; makes nothing.

use std::sync::Arc;

use crate::domain::error_code::ErrorCode;
use crate::domain::families;
use crate::domain::features::FeatureSettings;
use crate::domain::features::Given;
use crate::domain::ids::FileId;
use crate::domain::ids::KeyId;
use crate::domain::ids::ProjectId;
use crate::domain::settings::BadSetting;
use crate::domain::settings::Precision;
use crate::domain::settings::SplitSettings;
use crate::engine::EngineError;
use crate::service::access::budgets;
use crate::service::context::Context;
use crate::service::context::Result;
use crate::service::error::ServiceError;
use crate::service::error::setting_path;
use crate::service::features::sessions::Opened;
use crate::service::features::shard::row_at_fault;
use crate::service::features::size::RowSize;
use crate::service::features::size::TRANSFORM_SAMPLE;
use crate::service::features::worker::Features;
use crate::service::files::INPUTS;
use crate::service::files::STORED;
use crate::service::files::row_reader::read_rows;
use crate::service::inference::runnable::rows_per_forward;
use crate::store::Connection;
use crate::store::features;
use crate::store::files;
use crate::store::files::FileRow;
use crate::store::models;
use crate::store::models::ModelRow;

/// Rows that are tokenized at most; from more of them an even sample.
const SAMPLE: u64 = 2000;

/// Where the rows come from.
#[derive(Debug, Clone, Copy)]
pub enum Rows {
    /// A file of the project.
    File(Option<FileId>),
    /// So many rows of so many tokens each, for an estimate.
    Tokens(u64, usize),
}

/// What a client asks for.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// Name of a backbone.
    pub model: &'a str,
    /// The inputs.
    pub rows: Rows,
    /// The settings, as they were sent.
    pub settings: &'a FeatureSettings,
}

/// A features job that could be made.
#[derive(Clone)]
pub struct Planned {
    /// The backbone.
    pub backbone: ModelRow,
    /// The settings, settled.
    pub settings: FeatureSettings,
    /// Settings of the session that it runs in.
    pub session: SplitSettings,
    /// The session.
    pub opened: Arc<Opened>,
    /// The file; none where only sizes are given.
    pub file: Option<FileRow>,
    /// Rows of the file.
    pub rows: u64,
    /// Tokens of all rows: exact up to 2,000 rows, else from an even sample.
    pub tokens: u64,
    /// Rows that were tokenized.
    pub sampled: u64,
    /// Bytes of the results.
    pub bytes: u64,
}

impl Planned {
    /// Tokens that the device reads for it: every row's once, and those of the sample that a transform is made from.
    pub fn tokens_to_read(&self) -> u64 {
        let sample = self.settings.passes_over_sample() * TRANSFORM_SAMPLE.min(self.rows);
        let of_sample = u128::from(self.tokens) * u128::from(sample) / u128::from(self.rows);
        self.tokens.saturating_add(of_sample as u64)
    }
}

impl Features {
    /// What the job would take; refused where it cannot be made.
    pub async fn plan(&self, project: ProjectId, asked: Asked<'_>) -> Result<Planned> {
        let life = asked.settings.seconds();
        life.map_err(|bad| {
            let place = format!("method.features.expires_after.{}", bad.field);
            ServiceError::from(bad).at(place)
        })?;
        let backbone = self.backbone(project, asked.model).await?;
        let session = session_settings(&backbone.family, asked.settings.precision)?;
        let opened = self.sessions.get(&backbone, &session).await.map_err(of_features)?;
        let settings =
            asked.settings.clone().settle(&given(&self.context, &backbone.name, &opened)).map_err(refused)?;
        let (file, counted) = match asked.rows {
            Rows::File(id) => {
                let file = self.file(project, id).await?;
                let counted = self.count_tokens(&opened, &file).await?;
                (Some(file), counted)
            }
            Rows::Tokens(rows, per_row) => (None, of_sizes(rows, per_row, opened.info.max_tokens)?),
        };
        let Counted { rows, tokens, sampled } = counted;
        let bytes = RowSize::of(&settings, opened.info.hidden_size).bytes(rows, tokens);
        Ok(Planned { backbone, settings, session, opened, file, rows, tokens, sampled, bytes })
    }

    async fn backbone(&self, project: ProjectId, name: &str) -> Result<ModelRow> {
        let mut connection = self.context.connection().await?;
        let found = models::get_visible(&mut connection, project, name).await?;
        let row = found.ok_or_else(|| ServiceError::not_found("model", name).at("model"))?;
        if row.project.is_some() {
            let message = "model: features are those of a bare backbone; name one, not a fine-tuned model.";
            return Err(ServiceError::new(ErrorCode::UnsupportedModel, message).at("model"));
        }
        Ok(row)
    }

    async fn file(&self, project: ProjectId, id: Option<FileId>) -> Result<FileRow> {
        let Some(id) = id else {
            let message = "training_file: a features job reads the rows of a file; name one.";
            return Err(ServiceError::new(ErrorCode::NoTrainingFile, message).at("training_file"));
        };
        let missing = || ServiceError::not_found("file", id).at("training_file");
        let file = files::get(&mut *self.context.connection().await?, project, id).await?.ok_or_else(missing)?;
        if file.purpose != INPUTS {
            let message = format!("The file's purpose is '{}'; a training_file has '{INPUTS}'.", file.purpose);
            return Err(ServiceError::new(ErrorCode::InvalidPurpose, message).at("training_file"));
        }
        if file.rows == 0 {
            return Err(ServiceError::new(ErrorCode::EmptyFile, "training_file: has no rows.").at("training_file"));
        }
        Ok(file)
    }

    /// Tokens of all rows.
    async fn count_tokens(&self, opened: &Arc<Opened>, file: &FileRow) -> Result<Counted> {
        let rows = file.rows.unsigned_abs();
        let count = SAMPLE.min(rows);
        let numbers: Vec<u64> =
            (0..count).map(|place| (u128::from(place) * u128::from(rows) / u128::from(count)) as u64).collect();
        let mut tokens = 0;
        for some in numbers.chunks(rows_per_forward(&self.context.limits, opened.info.max_tokens)) {
            let inputs = read_rows(&self.context, file, some).await?;
            let counted = self.context.engine.count_tokens(opened.session, inputs).await;
            tokens += counted.map_err(|error| unreadable(error, some))?.iter().sum::<usize>() as u64;
        }
        let tokens = (u128::from(tokens) * u128::from(rows)).div_ceil(u128::from(count)) as u64;
        Ok(Counted { rows, tokens, sampled: count })
    }

    /// Refuses a job that the project's storage or a budget has no room for.
    pub async fn check_room(
        &self,
        connection: &mut Connection,
        project: ProjectId,
        key: KeyId,
        planned: &Planned,
    ) -> Result<()> {
        let most = self.context.limits.feature_bytes_per_project;
        let stored = features::stored_bytes(connection, project, &STORED).await?.unsigned_abs();
        if planned.bytes > most.saturating_sub(stored) {
            let message = format!(
                "The features of {} rows take {} bytes; the project has {stored} of {most} bytes stored or promised \
                 (limits.feature_bytes_per_project). Delete result files, or ask for fewer levels, a narrower projection or a smaller dtype.",
                planned.rows, planned.bytes
            );
            return Err(ServiceError::new(ErrorCode::StorageExceeded, message).at("method.features"));
        }
        if let Some(left) = budgets::tokens_left(connection, project, key).await?
            && planned.tokens_to_read() > left.unsigned_abs()
        {
            let message = format!(
                "The job reads {} tokens; {left} are left of this month's budget (monthly_tokens).",
                planned.tokens_to_read()
            );
            return Err(ServiceError::new(ErrorCode::InsufficientQuota, message).at("monthly_tokens"));
        }
        Ok(())
    }
}

/// What this host gives of a backbone.
fn given<'a>(context: &Context, model: &'a str, opened: &Opened) -> Given<'a> {
    Given::within(&context.limits, model, opened.info.levels, opened.info.hidden_size)
}

/// Rows and their tokens.
struct Counted {
    rows: u64,
    tokens: u64,
    sampled: u64,
}

fn of_sizes(rows: u64, per_row: usize, most: usize) -> Result<Counted> {
    if per_row > most {
        let message = format!("tokens_per_row: the model takes at most {most}.");
        return Err(ServiceError::new(ErrorCode::RowTooLong, message).at("tokens_per_row"));
    }
    Ok(Counted { rows, tokens: rows.saturating_mul(per_row as u64), sampled: rows.min(SAMPLE) })
}

/// What the engine refuses of these rows, by the number of the row.
fn unreadable(error: EngineError, numbers: &[u64]) -> ServiceError {
    match row_at_fault(&error, numbers) {
        Some(message) => ServiceError::new(ErrorCode::UnusableInput, message).at("training_file"),
        None => error.into(),
    }
}

/// Settings of the session: one adapter set that no features job ever asks for.
fn session_settings(family: &str, precision: Precision) -> Result<SplitSettings> {
    let settings = SplitSettings { adapter_sets: 1, precision, ..SplitSettings::default() };
    families::settle(family, settings).map_err(refused)
}

/// What a session's backbone refuses of a setting, by the setting's place among those of method `features`.
fn of_features(error: ServiceError) -> ServiceError {
    let moved = |text: String| text.replace(&setting_path(""), "method.features.");
    ServiceError { message: moved(error.message), param: error.param.map(moved), ..error }
}

/// A setting of method `features` that cannot be used, by its place in the request.
fn refused(bad: BadSetting) -> ServiceError {
    let path = format!("method.features.{}", bad.setting);
    ServiceError::new(ErrorCode::InvalidSetting, format!("{path}: {}.", bad.reason)).at(path)
}
