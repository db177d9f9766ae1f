//! What the host keeps of one project, in a folder: rows as JSON lines by table, and blobs. Owns that they are of one moment; must never
//! hold a row or a blob of another project, a secret of a webhook or the hash of a key.

use std::path::Path;

use futures::TryStreamExt;
use tokio::io::AsyncWriteExt;

use crate::domain::ids::ProjectId;
use crate::store::backup::copying::TRIES;
use crate::store::backup::copying::copy_blobs;
use crate::store::backup::copying::deleted_meanwhile;
use crate::store::backup::copying::hash_of;
use crate::store::backup::copying::make_empty;
use crate::store::backup::manifest::Entry;
use crate::store::backup::manifest::Manifest;
use crate::store::blobs::Blobs;
use crate::store::error::Result;
use crate::store::pool;
use crate::store::pool::Connection;
use crate::store::pool::Pool;
use crate::store::private_files;
use crate::store::project_tables;
use crate::store::project_tables::ProjectTable;
use crate::store::projects::ProjectRow;

const ROWS: &str = "rows";

/// Writes all that the host keeps of a project into `folder`, which is made and must be empty.
pub async fn export(pool: &Pool, blobs: &Blobs, project: &ProjectRow, folder: &Path) -> Result<Manifest> {
    make_empty(folder)?;
    private_files::make_folder(&folder.join(ROWS))?;
    for _ in 0..TRIES {
        if let Some(manifest) = at_one_moment(pool, blobs, project, folder).await? {
            manifest.write(folder)?;
            return Ok(manifest);
        }
    }
    Err(deleted_meanwhile())
}

async fn at_one_moment(pool: &Pool, blobs: &Blobs, project: &ProjectRow, folder: &Path) -> Result<Option<Manifest>> {
    let mut moment = pool::moment(pool).await?;
    let mut entries = Vec::new();
    for table in project_tables::TABLES {
        entries.push(write_rows(&mut moment.transaction, project.id, &table, folder).await?);
    }
    let named = sqlx::query_scalar(project_tables::BLOBS).bind(project.id.0);
    let named: Vec<String> = named.fetch_all(&mut *moment.transaction).await?;
    moment.transaction.rollback().await?;
    let Some(copies) = copy_blobs(&named, folder, async |path| blobs.stream(path).await).await? else {
        return Ok(None);
    };
    entries.extend(copies);
    let postgres = pool::server_version(pool).await?;
    Ok(Some(Manifest::new(moment.at, &postgres, entries).of_project(&project.name)))
}

async fn write_rows(conn: &mut Connection, project: ProjectId, table: &ProjectTable, folder: &Path) -> Result<Entry> {
    let name = format!("{ROWS}/{}.jsonl", table.name);
    let mut file = tokio::io::BufWriter::new(tokio::fs::File::from_std(private_files::create(&folder.join(&name))?));
    let select = table.rows();
    let mut rows = sqlx::query_scalar::<_, String>(&select).bind(project.0).fetch(conn);
    while let Some(row) = rows.try_next().await? {
        file.write_all(row.as_bytes()).await?;
        file.write_all(b"\n").await?;
    }
    file.flush().await?;
    file.into_inner().sync_all().await?;
    hash_of(folder, &name).await
}
