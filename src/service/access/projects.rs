//! A project as its operator handles it: exported, and deleted for good. Owns that no key of it counts any more when its rows go; must
//! never take a job from under a host that is at work on it.

use std::path::Path;
use std::time::Duration;

use crate::domain::error_code::ErrorCode;
use crate::service::context::Result;
use crate::service::context::begin;
use crate::service::context::commit;
use crate::service::context::connection;
use crate::service::error::ServiceError;
use crate::store::Connection;
use crate::store::Pool;
use crate::store::Tx;
use crate::store::backup;
use crate::store::backup::Manifest;
use crate::store::blobs::Blobs;
use crate::store::erasure;
use crate::store::erasure::ErasedProject;
use crate::store::files;
use crate::store::keys;
use crate::store::projects;
use crate::store::projects::ProjectRow;

/// Use cases on whole projects.
pub struct Projects {
    pool: Pool,
    blobs: Blobs,
    /// For how long hosts remember a key that was revoked.
    keys_are_remembered: Duration,
}

impl Projects {
    /// Puts them together.
    pub fn new(pool: Pool, blobs: Blobs, keys_are_remembered: Duration) -> Self {
        Self { pool, blobs, keys_are_remembered }
    }

    /// Writes all that the host keeps of a project into a folder of its own; works beside a running host.
    pub async fn export(&self, name: &str, folder: &Path) -> Result<Manifest> {
        let project = find(&mut *connection(&self.pool).await?, name).await?;
        Ok(backup::export(&self.pool, &self.blobs, &project, folder).await?)
    }

    /// What [`Projects::delete`] would delete now.
    pub async fn preview(&self, name: &str) -> Result<ErasedProject> {
        let (mut transaction, project) = self.hold(name).await?;
        Ok(erasure::project(&mut transaction, project.id).await?) // and rolls it back
    }

    /// Deletes a project with everything in it: its keys first, and when no host remembers one, its rows and then its blobs. Jobs and
    /// batches that no host works on need not be over.
    pub async fn delete(&self, name: &str) -> Result<ErasedProject> {
        let (mut transaction, project) = self.hold(name).await?; // what cannot be deleted keeps its keys
        keys::revoke_all(&mut transaction, project.id).await?;
        commit(transaction).await?;
        tokio::time::sleep(self.keys_are_remembered).await;
        let (mut transaction, project) = self.hold(name).await?;
        let erased = erasure::project(&mut transaction, project.id).await?;
        let unused = files::unused_blobs(&mut transaction, &erased.blobs).await?;
        commit(transaction).await?;
        self.blobs.delete_all(&unused).await?;
        Ok(erased)
    }

    /// A project at which no host is at work, nor begins to while the transaction lasts.
    async fn hold(&self, name: &str) -> Result<(Tx, ProjectRow)> {
        let mut transaction = begin(&self.pool).await?;
        let project = find(&mut transaction, name).await?;
        let at_work = erasure::hold_project(&mut transaction, project.id).await?;
        if at_work > 0 {
            let message = format!(
                "A host is at work on {at_work} jobs or batches of project '{name}'. Cancel or complete them (`blindtuned keys \
                 create --project {name}` makes a key for that), or stop the host and wait until its leases are over."
            );
            return Err(ServiceError::new(ErrorCode::InvalidJobState, message));
        }
        Ok((transaction, project))
    }
}

async fn find(connection: &mut Connection, name: &str) -> Result<ProjectRow> {
    projects::named(connection, name).await?.ok_or_else(|| ServiceError::not_found("project", name))
}
