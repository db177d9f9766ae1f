//! Chores on what is no longer wanted. Owns the removal of what has expired and of blobs that no row names; must never remove
//! what an open job reads or would resume from.

use std::sync::Arc;
use std::time::Duration;

use crate::service::context::Context;
use crate::service::context::Result;
use crate::service::context::commit;
use crate::store::audit;
use crate::store::blobs::BlobKind;
use crate::store::checkpoints;
use crate::store::erasure;
use crate::store::files;
use crate::store::uploads;
use crate::store::usage;

/// Rows of a kind removed in one go.
const BATCH: i64 = 100;
/// Small rows of a kind removed in one go.
const ROWS: i64 = 10_000;
/// An upload is kept this long past its end, for a completion that began in time.
const UPLOAD_GRACE_SECONDS: i64 = 600;
/// Blobs looked up in one query.
const LOOKUP: usize = 1000;

/// For how many days what is over is kept; 0: until somebody deletes it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Retention {
    /// Jobs that are over, with their steps, ledgers, events and checkpoints.
    pub jobs_days: u32,
    /// Entries of the audit log.
    pub audit_days: u32,
    /// Days of counted use.
    pub usage_days: u32,
}

/// The chores.
pub struct Sweeper {
    /// Database and blobs.
    pub context: Arc<Context>,
    /// What is kept for how long.
    pub retention: Retention,
}

impl Sweeper {
    /// Removes what has been over for longer than it is kept.
    pub async fn forget_old(&self) -> Result<()> {
        if self.retention == Retention::default() {
            return Ok(());
        }
        let Retention { jobs_days, audit_days, usage_days } = self.retention;
        let mut transaction = self.context.begin().await?;
        let mut blobs = Vec::new();
        if let Some(days) = kept_for(jobs_days) {
            for (project, job) in erasure::old_jobs(&mut transaction, days, BATCH).await? {
                let erased = erasure::job(&mut transaction, project, job).await?;
                tracing::info!(%job, "{job} was over for {jobs_days} days and is deleted");
                blobs.extend(erased.into_iter().flat_map(|erased| erased.blobs));
            }
        }
        if let Some(days) = kept_for(audit_days) {
            audit::delete_old(&mut transaction, days, ROWS).await?;
        }
        if let Some(days) = kept_for(usage_days) {
            usage::delete_old(&mut transaction, days).await?;
        }
        let unused = files::unused_blobs(&mut transaction, &blobs).await?;
        commit(transaction).await?;
        Ok(self.context.blobs.delete_all(&unused).await?)
    }

    /// Removes files, checkpoints and pending uploads that have expired: rows first, blobs after.
    pub async fn remove_expired(&self) -> Result<()> {
        let mut transaction = self.context.begin().await?;
        let mut blobs = Vec::new();
        for file in files::delete_expired(&mut transaction, BATCH).await? {
            blobs.extend([file.blob, file.index_blob]);
        }
        let saved = checkpoints::delete_expired(&mut transaction, BATCH).await?;
        blobs.extend(saved.into_iter().map(|checkpoint| checkpoint.blob));
        blobs.extend(uploads::delete_expired(&mut transaction, UPLOAD_GRACE_SECONDS, BATCH).await?);
        commit(transaction).await?;
        self.context.blobs.delete_all(&blobs).await?;
        if !blobs.is_empty() {
            tracing::info!(blobs = blobs.len(), "{} blobs had expired", blobs.len());
        }
        Ok(())
    }

    /// Removes blobs older than `age` that no row names: what a crash, a refused request or a deleted model left.
    pub async fn remove_orphans(&self, age: Duration) -> Result<()> {
        for kind in BlobKind::ALL {
            let old = self.context.blobs.older_than(kind, age).await?;
            for paths in old.chunks(LOOKUP) {
                let unused = files::unused_blobs(&mut *self.context.connection().await?, paths).await?;
                for path in &unused {
                    self.context.blobs.delete(path).await?;
                    tracing::info!(path, "{path} belonged to nothing");
                }
            }
        }
        Ok(())
    }
}

fn kept_for(days: u32) -> Option<i32> {
    i32::try_from(days).ok().filter(|days| *days > 0)
}
