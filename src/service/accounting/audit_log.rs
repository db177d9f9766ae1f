//! Who changed what. Owns who may see it; must never hold what was sent.

use std::sync::Arc;

use uuid::Uuid;

use crate::domain::ids::AuditId;
use crate::domain::ids::KeyId;
use crate::domain::ids::ProjectId;
use crate::domain::principal::Principal;
use crate::service::context::Context;
use crate::service::context::Result;
use crate::service::context::known_cursor;
use crate::store::Connection;
use crate::store::Page as PageRequest;
use crate::store::Paged;
use crate::store::audit;
use crate::store::audit::AuditRow;
use crate::store::audit::NewAuditEntry;

/// What was done, for the audit log.
#[derive(Debug, Clone)]
pub struct AuditEntry<'a> {
    /// Name of the operation.
    pub action: &'a str,
    /// The thing that it was about.
    pub resource: Option<&'a str>,
    /// How it was answered.
    pub status: u16,
    /// Id of the request.
    pub request_id: &'a str,
}

/// Use cases on the audit log.
pub struct AuditLog(pub Arc<Context>);

impl AuditLog {
    /// A page of the audit log, newest first.
    pub async fn list(&self, project: ProjectId, page: PageRequest) -> Result<Paged<AuditRow>> {
        known_cursor(audit::list(&mut *self.0.connection().await?, project, &page).await?)
    }

    /// Writes down what a caller did, in the log of its project and of any other that it was done to.
    pub async fn note(&self, caller: &Principal, entry: &AuditEntry<'_>) -> Result<()> {
        let mut connection = self.0.connection().await?;
        append(&mut connection, caller.project, caller.key, entry).await?;
        match entry.done_to(caller.project) {
            Some(other) => append(&mut connection, other, caller.key, entry).await,
            None => Ok(()),
        }
    }
}

impl AuditEntry<'_> {
    /// The project of somebody else that an operator changed.
    fn done_to(&self, own: ProjectId) -> Option<ProjectId> {
        let project: ProjectId = self.resource?.parse().ok()?;
        ((200..300).contains(&self.status) && project != own).then_some(project)
    }
}

async fn append(conn: &mut Connection, project: ProjectId, key: KeyId, entry: &AuditEntry<'_>) -> Result<()> {
    let AuditEntry { action, resource, status, request_id } = *entry;
    let id = AuditId(Uuid::now_v7());
    Ok(audit::append(conn, &NewAuditEntry { id, project, key, action, resource, status, request_id }).await?)
}
