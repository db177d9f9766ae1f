//! Who changed what. Owns who may see it; must never hold what was sent.

use std::sync::Arc;

use uuid::Uuid;

use crate::domain::ids::AuditId;
use crate::domain::ids::ProjectId;
use crate::domain::principal::Principal;
use crate::service::context::Context;
use crate::service::context::Result;
use crate::service::context::known_cursor;
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

    /// Writes down what a caller did.
    pub async fn note(&self, caller: &Principal, entry: &AuditEntry<'_>) -> Result<()> {
        let AuditEntry { action, resource, status, request_id } = *entry;
        let Principal { project, key, .. } = *caller;
        let id = AuditId(Uuid::now_v7());
        let entry = NewAuditEntry { id, project, key, action, resource, status, request_id };
        Ok(audit::append(&mut *self.0.connection().await?, &entry).await?)
    }
}
