//! The file that a job leaves: the metrics that its client chose to report, as `step_metrics.csv`. Owns its form; must never
//! hold more of it in memory than a page.

use serde_json::Value;
use serde_json::json;
use uuid::Uuid;

use crate::domain::ids::FileId;
use crate::service::context::Context;
use crate::service::context::Result;
use crate::service::error::ServiceError;
use crate::service::files::RESULTS;
use crate::service::lifecycle::transitions::note;
use crate::store::Connection;
use crate::store::blobs::BlobKind;
use crate::store::events;
use crate::store::events::Level;
use crate::store::files;
use crate::store::files::NewFile;
use crate::store::jobs;
use crate::store::jobs::JobRow;

/// Reports in memory at once.
const PAGE: i64 = 100;

/// Gives a job that has just ended its file, where its client reported metrics; in the transaction that ends the job.
pub async fn attach(context: &Context, connection: &mut Connection, job: JobRow) -> Result<JobRow> {
    // Reports from before names were bounded may have more.
    let columns = context.limits.metric_names_per_job;
    let mut names = events::metric_names(connection, job.id, columns as i64 + 1).await?;
    if names.is_empty() {
        return Ok(job);
    }
    if names.len() > columns {
        names.truncate(columns);
        let message = format!("step_metrics.csv has the first {columns} metrics by name; there are more");
        note(connection, &job, Level::Warn, &message).await?;
    }
    let mut writer = context.blobs.writer(BlobKind::Files).await?;
    let header = std::iter::once("step").chain(names.iter().map(String::as_str));
    writer.write(csv(std::iter::once(header.map(str::to_owned).collect()))?).await?;
    let mut rows = 0;
    let mut after = 0;
    loop {
        let page = events::metrics_since(connection, job.id, after, PAGE).await?;
        let Some((last, _)) = page.last() else { break };
        after = *last;
        rows += page.len() as i64;
        writer.write(csv(page.iter().map(|(_, data)| record(data, &names)))?).await?;
    }
    let blob = writer.finish().await?;
    let new = NewFile {
        id: FileId(Uuid::now_v7()),
        project: job.project,
        filename: "step_metrics.csv",
        purpose: RESULTS,
        bytes: blob.bytes.cast_signed(),
        rows,
        sha256: &blob.sha256,
        blob: &blob.path,
        index_blob: &blob.path, // no step reads rows of it, so it has no index of its own
        index_bytes: 0,
        shape: &json!({}),
        seconds: None,
    };
    let file = files::insert(connection, &new).await?;
    jobs::add_result_file(connection, job.project, job.id, file.id).await?;
    Ok(JobRow { result_files: [job.result_files, vec![file.id]].concat(), ..job })
}

fn record(data: &Value, names: &[String]) -> Vec<String> {
    let field = |name: &str| data.get(name).map(Value::to_string).unwrap_or_default();
    std::iter::once(field("step")).chain(names.iter().map(|name| field(name))).collect()
}

fn csv(records: impl Iterator<Item = Vec<String>>) -> Result<bytes::Bytes> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    for record in records {
        writer.write_record(record).map_err(ServiceError::internal)?;
    }
    Ok(writer.into_inner().map_err(ServiceError::internal)?.into())
}
