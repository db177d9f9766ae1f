//! Chores on what is no longer wanted. Owns the removal of what has expired and of blobs that no row names; must never remove
//! what an open job reads or would resume from.

use std::sync::Arc;
use std::time::Duration;

use crate::service::context::Context;
use crate::service::context::Result;
use crate::service::context::commit;
use crate::store::blobs::BlobKind;
use crate::store::checkpoints;
use crate::store::files;
use crate::store::uploads;

/// Rows of a kind removed in one go.
const BATCH: i64 = 100;
/// An upload is kept this long past its end, for a completion that began in time.
const UPLOAD_GRACE_SECONDS: i64 = 600;
/// Blobs looked up in one query.
const LOOKUP: usize = 1000;

/// The chores.
pub struct Sweeper(pub Arc<Context>);

impl Sweeper {
    /// Removes files, checkpoints and pending uploads that have expired: rows first, blobs after.
    pub async fn remove_expired(&self) -> Result<()> {
        let mut transaction = self.0.begin().await?;
        let mut blobs = Vec::new();
        for file in files::delete_expired(&mut transaction, BATCH).await? {
            blobs.extend([file.blob, file.index_blob]);
        }
        let saved = checkpoints::delete_expired(&mut transaction, BATCH).await?;
        blobs.extend(saved.into_iter().map(|checkpoint| checkpoint.blob));
        blobs.extend(uploads::delete_expired(&mut transaction, UPLOAD_GRACE_SECONDS, BATCH).await?);
        commit(transaction).await?;
        for blob in &blobs {
            self.0.blobs.delete(blob).await?;
        }
        if !blobs.is_empty() {
            tracing::info!(blobs = blobs.len(), "{} blobs had expired", blobs.len());
        }
        Ok(())
    }

    /// Removes blobs older than `age` that no row names: what a crash, a refused request or a deleted model left.
    pub async fn remove_orphans(&self, age: Duration) -> Result<()> {
        for kind in BlobKind::ALL {
            let old = self.0.blobs.older_than(kind, age).await?;
            for paths in old.chunks(LOOKUP) {
                let unused = files::unused_blobs(&mut *self.0.connection().await?, paths).await?;
                for path in &unused {
                    self.0.blobs.delete(path).await?;
                    tracing::info!(path, "{path} belonged to nothing");
                }
            }
        }
        Ok(())
    }
}
