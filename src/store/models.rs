//! Models: backbones that the host offers to everyone, and what projects made of them. Owns table `models`.

use serde::Deserialize;
use serde::Serialize;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::domain::ids::ProjectId;
use crate::domain::settings::SplitSettings;
use crate::store::blobs::BlobRef;
use crate::store::error::Result;
use crate::store::pool::Connection;

/// Blobs of a fine-tuned model, one for each adapter set, in order.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct AdapterBlobs(pub Vec<BlobRef>);

/// A model.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelRow {
    pub id: Uuid,
    /// The tenant; `None` for a backbone, which every project sees.
    pub project: Option<ProjectId>,
    /// The name that clients use.
    pub name: String,
    /// Architecture, `bert` for example.
    pub family: String,
    /// Folder with weights and tokenizer; `None` for a fine-tuned model.
    pub folder: Option<String>,
    /// The backbone of a fine-tuned model.
    pub base_model: Option<Uuid>,
    /// The backbone's name, of a fine-tuned model.
    pub base_name: Option<String>,
    /// Settings that a fine-tuned model's adapters were made with.
    pub settings: Option<SplitSettings>,
    /// Blobs of a fine-tuned model.
    pub adapters: AdapterBlobs,
    /// Hash of a backbone's weights, in hexadecimal.
    pub sha256: Option<String>,
    pub parameters: i64,
    /// Size H of an activation.
    pub hidden_size: i64,
    /// Longest input in tokens.
    pub max_tokens: i64,
    /// Whom clients see as the owner.
    pub owned_by: String,
    pub created_at: OffsetDateTime,
}

/// A backbone to be offered.
#[derive(Debug, Clone)]
pub struct BaseModel<'a> {
    /// The name that clients use.
    pub name: &'a str,
    /// Architecture, `bert` for example.
    pub family: &'a str,
    /// Folder with weights and tokenizer.
    pub folder: &'a str,
    /// Hash of the weights, in hexadecimal.
    pub sha256: Option<&'a str>,
    pub parameters: i64,
    /// Size H of an activation.
    pub hidden_size: i64,
    /// Longest input in tokens.
    pub max_tokens: i64,
    /// Whom clients see as the owner.
    pub owned_by: &'a str,
}

/// A fine-tuned model to be stored. Family, size and limits are those of its backbone.
#[derive(Debug, Clone)]
pub struct TunedModel<'a> {
    pub project: ProjectId,
    /// `ft:...`.
    pub name: &'a str,
    /// The backbone.
    pub base_model: Uuid,
    /// Its blobs.
    pub adapters: &'a AdapterBlobs,
    /// Settings that they were made with.
    pub settings: &'a SplitSettings,
    /// Whom clients see as the owner.
    pub owned_by: &'a str,
}

/// `select`s or `returning`s the columns of [`ModelRow`] between two pieces of SQL.
macro_rules! model_rows {
    ($head:literal, $tail:literal $(, $arg:expr)* $(,)?) => {
        sqlx::query_as!(
            ModelRow,
            $head
                + r#" id, project_id as "project: _", name, family, folder, base_model_id as base_model,
                      (select b.name from models b where b.id = models.base_model_id) as base_name, settings as "settings: _",
                      adapters as "adapters: _", sha256, parameters, hidden_size, max_tokens, owned_by, created_at "#
                + $tail,
            $($arg),*
        )
    };
}

/// Offers a backbone, or brings what is known of it up to date. Its id and age stay.
pub async fn upsert_base(conn: &mut Connection, model: &BaseModel<'_>) -> Result<ModelRow> {
    let row = model_rows!(
        "insert into models (id, name, family, folder, sha256, parameters, hidden_size, max_tokens, owned_by)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9)
         on conflict (name) where deleted_at is null do update
         set family = excluded.family, folder = excluded.folder, sha256 = excluded.sha256,
             parameters = excluded.parameters, hidden_size = excluded.hidden_size, max_tokens = excluded.max_tokens,
             owned_by = excluded.owned_by
         where models.project_id is null
         returning",
        "",
        Uuid::now_v7(),
        model.name,
        model.family,
        model.folder,
        model.sha256,
        model.parameters,
        model.hidden_size,
        model.max_tokens,
        model.owned_by,
    )
    .fetch_one(conn)
    .await?;
    Ok(row)
}

/// The backbone or the project's own model of that name.
pub async fn get_visible(conn: &mut Connection, project: ProjectId, name: &str) -> Result<Option<ModelRow>> {
    let row = model_rows!(
        "select",
        "from models where name = $2 and deleted_at is null and (project_id is null or project_id = $1)",
        project.0,
        name,
    )
    .fetch_optional(conn)
    .await?;
    Ok(row)
}

/// As [`get_visible`]; nobody withdraws the model until the transaction ends.
pub async fn get_visible_to_keep(conn: &mut Connection, project: ProjectId, name: &str) -> Result<Option<ModelRow>> {
    let row = model_rows!(
        "select",
        "from models where name = $2 and deleted_at is null and (project_id is null or project_id = $1) for share",
        project.0,
        name,
    )
    .fetch_optional(conn)
    .await?;
    Ok(row)
}

/// The model of that id, withdrawn or not: for a job, which names its model by id.
pub async fn get(conn: &mut Connection, id: Uuid) -> Result<Option<ModelRow>> {
    Ok(model_rows!("select", "from models where id = $1", id).fetch_optional(conn).await?)
}

/// The backbones and the project's own models, oldest first.
pub async fn list_visible(conn: &mut Connection, project: ProjectId) -> Result<Vec<ModelRow>> {
    let rows = model_rows!(
        "select",
        "from models where deleted_at is null and (project_id is null or project_id = $1) order by id",
        project.0,
    )
    .fetch_all(conn)
    .await?;
    Ok(rows)
}

/// Stores a fine-tuned model. [`StoreError::Missing`](crate::store::error::StoreError::Missing) when there is no such backbone.
pub async fn insert_tuned(conn: &mut Connection, model: &TunedModel<'_>) -> Result<ModelRow> {
    let row = model_rows!(
        "insert into models (id, project_id, name, family, base_model_id, adapters, parameters, hidden_size, max_tokens,
                             owned_by, settings)
         select $1, $2, $3, base.family, base.id, $5, base.parameters, base.hidden_size, base.max_tokens, $6, $7
         from models base where base.id = $4 returning",
        "",
        Uuid::now_v7(),
        model.project.0,
        model.name,
        model.base_model,
        sqlx::types::Json(model.adapters) as _,
        model.owned_by,
        sqlx::types::Json(model.settings) as _,
    )
    .fetch_one(conn)
    .await?;
    Ok(row)
}

/// A backbone that is to be withdrawn, and who needs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BaseUse {
    pub id: Uuid,
    /// Jobs that are not over.
    pub open_jobs: i64,
    /// Fine-tuned models that were not deleted.
    pub tuned: i64,
}

/// The use of the backbone of that name; until the transaction ends nobody makes a job or a model of it.
pub async fn base_use(conn: &mut Connection, name: &str) -> Result<Option<BaseUse>> {
    let found = sqlx::query_as!(
        BaseUse,
        r#"select id,
               (select count(*) from jobs where model_id = models.id and finished_at is null) as "open_jobs!",
               (select count(*) from models t where t.base_model_id = models.id and t.deleted_at is null) as "tuned!"
           from models where name = $1 and project_id is null and deleted_at is null for update"#,
        name,
    );
    Ok(found.fetch_optional(conn).await?)
}

/// Withdraws a backbone; what is over keeps its row.
pub async fn delete_base(conn: &mut Connection, id: Uuid) -> Result<()> {
    sqlx::query!("update models set deleted_at = now() where id = $1 and project_id is null", id).execute(conn).await?;
    Ok(())
}

/// Withdraws the project's fine-tuned model. `false` when the project has none of that name; a backbone is none of its own.
pub async fn delete_tuned(conn: &mut Connection, project: ProjectId, name: &str) -> Result<bool> {
    let done = sqlx::query!(
        "update models set deleted_at = now() where project_id = $1 and name = $2 and deleted_at is null",
        project.0,
        name,
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}
