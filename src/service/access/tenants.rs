//! Projects as the operator of hosts sees them over the API: which there are, what is open in them, what they may use and have used.
//! Owns what of a project an operator is shown; must never show a job, a file or a text of one.

use std::sync::Arc;

use uuid::Uuid;

use crate::domain::error_code::ErrorCode;
use crate::domain::ids::ProjectId;
use crate::domain::quota::Quota;
use crate::domain::quota::Used;
use crate::service::access::idempotency::AnswerRecord;
use crate::service::access::keys::check_quota;
use crate::service::context::Context;
use crate::service::context::Result;
use crate::service::context::begin;
use crate::service::context::commit;
use crate::service::context::known_cursor;
use crate::service::error::ServiceError;
use crate::store::Connection;
use crate::store::Page as PageRequest;
use crate::store::Paged;
use crate::store::overview;
use crate::store::overview::OpenJobs;
use crate::store::projects;
use crate::store::projects::ProjectRow;
use crate::store::storage;

/// The longest name, which is a part of the names of fine-tuned models.
const LONGEST_NAME: usize = 64;

/// A project, and how it stands.
#[derive(Debug, Clone)]
pub struct ProjectStanding {
    /// Its row.
    pub project: ProjectRow,
    /// Its open jobs.
    pub open_jobs: Vec<OpenJobs>,
    /// What it used in this calendar month (UTC).
    pub month: Used,
    /// What it has stored.
    pub stored_bytes: i64,
}

/// Use cases on projects, of an operator.
pub struct Tenants(pub Arc<Context>);

impl Tenants {
    /// A page of all projects, newest first.
    pub async fn list(&self, page: PageRequest) -> Result<Paged<ProjectStanding>> {
        let mut connection = self.0.connection().await?;
        let found = known_cursor(projects::page(&mut connection, &page).await?)?;
        Ok(Paged { rows: standings(&mut connection, found.rows).await?, has_more: found.has_more })
    }

    /// One project.
    pub async fn get(&self, project: ProjectId) -> Result<ProjectStanding> {
        let mut connection = self.0.connection().await?;
        let found = projects::get(&mut connection, project).await?;
        let row = found.ok_or_else(|| ServiceError::not_found("project", project))?;
        standing(&mut connection, row).await
    }

    /// Makes a project.
    pub async fn create(&self, name: &str, record: AnswerRecord<ProjectStanding>) -> Result<ProjectStanding> {
        if name.is_empty() || name.chars().count() > LONGEST_NAME || name.chars().any(char::is_control) {
            let message = format!("name: 1 to {LONGEST_NAME} characters, none of them a control character.");
            return Err(ServiceError::new(ErrorCode::InvalidName, message).at("name"));
        }
        let mut transaction = begin(&self.0.pool).await?;
        let made = projects::create(&mut transaction, name).await?;
        let taken = || ServiceError::new(ErrorCode::ProjectExists, format!("There is a project '{name}'.")).at("name");
        let made = standing(&mut transaction, made.ok_or_else(taken)?).await?;
        record.write(&mut transaction, &made).await?;
        commit(transaction).await?;
        Ok(made)
    }

    /// Sets a project's limits, all of them; hosts follow within the time that they remember keys for.
    pub async fn limit(&self, project: ProjectId, quota: Quota) -> Result<ProjectStanding> {
        check_quota(&quota)?;
        let mut connection = self.0.connection().await?;
        let set = projects::set_quota(&mut connection, project, &quota).await?;
        let row = set.ok_or_else(|| ServiceError::not_found("project", project))?;
        standing(&mut connection, row).await
    }
}

async fn standing(connection: &mut Connection, row: ProjectRow) -> Result<ProjectStanding> {
    let id = row.id;
    let one = standings(connection, vec![row]).await?.pop();
    one.ok_or_else(|| ServiceError::not_found("project", id))
}

async fn standings(connection: &mut Connection, rows: Vec<ProjectRow>) -> Result<Vec<ProjectStanding>> {
    let ids: Vec<Uuid> = rows.iter().map(|row| row.id.0).collect();
    let open = overview::open_jobs(connection, Some(&ids)).await?;
    let months = overview::months(connection, &ids).await?;
    let mut found = Vec::with_capacity(rows.len());
    for project in rows {
        let of_project = months.iter().find(|month| month.project == project.id);
        let month = of_project.map_or_else(Used::default, |m| Used { tokens: m.tokens, device_us: m.device_us });
        let open_jobs = open.iter().filter(|jobs| jobs.project == project.id).cloned().collect();
        let stored_bytes = storage::used(connection, project.id).await?;
        found.push(ProjectStanding { project, open_jobs, month, stored_bytes });
    }
    Ok(found)
}
