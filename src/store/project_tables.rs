//! Which rows are a project's. Owns the list of all tables that hold any, children before what they refer to; must never name a table
//! of the host's own, or a row of another project.

/// A table with rows of projects.
#[derive(Debug, Clone, Copy)]
pub struct ProjectTable {
    /// Its name.
    pub name: &'static str,
    /// Which of its rows, named `t`, are those of project `$1`.
    of: &'static str,
    /// Columns that nobody is shown.
    hidden: &'static [&'static str],
}

const fn table(name: &'static str, of: &'static str) -> ProjectTable {
    ProjectTable { name, of, hidden: &[] }
}

const fn secretive(name: &'static str, hidden: &'static [&'static str]) -> ProjectTable {
    ProjectTable { name, of: OWN, hidden }
}

const OWN: &str = "t.project_id = $1";
const OF_JOB: &str = "t.job_id in (select id from jobs where project_id = $1)";

/// Children first, so that they can be deleted in this order.
pub const TABLES: [ProjectTable; 20] = [
    table("webhook_deliveries", "t.webhook_id in (select id from webhooks where project_id = $1)"),
    secretive("webhooks", &["secret", "previous_secret"]),
    table("batch_pieces", "t.batch_id in (select id from batches where project_id = $1)"),
    table("batches", OWN),
    table("job_metrics", OF_JOB),
    table("checkpoints", OF_JOB),
    table("events", OF_JOB),
    table("ledger", OF_JOB),
    table("steps", OF_JOB),
    table("jobs", OWN),
    table("models", OWN),
    table("upload_parts", "t.upload_id in (select id from uploads where project_id = $1)"),
    table("uploads", OWN),
    table("files", OWN),
    table("usage", OWN),
    table("job_usage", OWN),
    table("audit", OWN),
    secretive("idempotency", &["token", "answer"]),
    secretive("api_keys", &["token_sha256"]),
    table("projects", "t.id = $1"),
];

/// Every blob that a row of project `$1` names.
pub const BLOBS: &str = "select blob from files where project_id = $1
    union select index_blob from files where project_id = $1
    union select c.blob from checkpoints c join jobs j on j.id = c.job_id where j.project_id = $1 and c.set_aside_at is null
    union select p.blob from upload_parts p join uploads u on u.id = p.upload_id where u.project_id = $1
    union select p.blob from batch_pieces p join batches b on b.id = p.batch_id where b.project_id = $1
    union select a ->> 'path' from models m, jsonb_array_elements(m.adapters) a
          where m.project_id = $1 and m.deleted_at is null
    union select a ->> 'path' from jobs j, jsonb_array_elements(j.origin -> 'adapters') a
          where j.project_id = $1 and j.finished_at is null and j.origin is not null
    order by 1";

impl ProjectTable {
    /// Gives each row of a project as a JSON object.
    pub fn rows(&self) -> String {
        let hidden = self.hidden.iter().map(|column| format!(" - '{column}'")).collect::<String>();
        format!("select (to_jsonb(t){hidden})::text from {} t where {}", self.name, self.of)
    }

    /// Deletes a project's rows.
    pub fn deletion(&self) -> String {
        format!("delete from {} t where {}", self.name, self.of)
    }
}
