//! Rows that most tests need.

use std::time::Duration;

use blindtune::domain::ids::JobId;
use blindtune::domain::ids::KeyId;
use blindtune::domain::ids::ProjectId;
use blindtune::domain::job::JobState;
use blindtune::domain::settings::SplitSettings;
use blindtune::domain::steps::StepKind;
use blindtune::store::Pool;
use blindtune::store::jobs;
use blindtune::store::jobs::JobRow;
use blindtune::store::jobs::Metadata;
use blindtune::store::jobs::NewJob;
use blindtune::store::jobs::StateChange;
use blindtune::store::leases;
use blindtune::store::models;
use blindtune::store::models::BaseModel;
use blindtune::store::projects;
use blindtune::store::steps;
use blindtune::store::steps::NewStep;
use blindtune::store::steps::StepWrite;
use uuid::Uuid;

use crate::postgres;

/// A lease that does not run out in a test.
pub const LONG: Duration = Duration::from_secs(60);
/// A lease that has run out when the claim is committed.
pub const OVER: Duration = Duration::ZERO;

/// A database with one project and one backbone.
pub struct World {
    pub pool: Pool,
    pub url: String,
    pub project: ProjectId,
    pub model: Uuid,
}

impl World {
    pub async fn new() -> Self {
        let db = postgres::database().await;
        let mut conn = db.pool.acquire().await.expect("connects");
        let project = projects::find_or_create(&mut conn, "acme").await.expect("a project").id;
        let model = models::upsert_base(&mut conn, &backbone("mini")).await.expect("a backbone").id;
        Self { pool: db.pool.clone(), url: db.url, project, model }
    }

    pub async fn other_project(&self) -> ProjectId {
        let mut conn = self.pool.acquire().await.expect("connects");
        projects::find_or_create(&mut conn, "rival").await.expect("a project").id
    }

    pub async fn job(&self, status: JobState, metadata: Option<&Metadata>) -> JobId {
        self.job_with_id(JobId(Uuid::now_v7()), status, metadata).await
    }

    pub async fn job_with_id(&self, id: JobId, status: JobState, metadata: Option<&Metadata>) -> JobId {
        let new = NewJob {
            id,
            project: self.project,
            model: self.model,
            model_name: "mini",
            training_file: None,
            status,
            suffix: None,
            seed: 7,
            settings: &SplitSettings::default(),
            metadata,
            origin: None,
            hyperparameters: &serde_json::json!({}),
            key: KeyId(Uuid::nil()),
            protection: None,
            features: None,
        };
        let mut conn = self.pool.acquire().await.expect("connects");
        jobs::insert(&mut conn, &new).await.expect("a job").id
    }

    pub async fn read(&self, job: JobId) -> JobRow {
        let mut conn = self.pool.acquire().await.expect("connects");
        jobs::get(&mut conn, self.project, job).await.expect("reads").expect("the job is there")
    }

    /// A change of state by somebody who knows of the newest lease.
    pub async fn change(&self, job: JobId, from: JobState, to: JobState) -> StateChange {
        StateChange { attempt: self.read(job).await.attempt, from, to }
    }

    pub async fn claim(&self, job: JobId, owner: Uuid, ttl: Duration) -> Option<i32> {
        let mut conn = self.pool.acquire().await.expect("connects");
        leases::claim(&mut conn, job, owner, ttl).await.expect("claims")
    }

    pub async fn step(&self, job: JobId, attempt: i32, seq: u64, kind: StepKind) -> Result<(), StepWrite> {
        let step = NewStep {
            job,
            seq,
            attempt,
            kind,
            digest: &[9; 32],
            forward: None,
            tokens: 10,
            optimizer_steps: 1,
            new_adapters: false,
        };
        let mut tx = self.pool.begin().await.expect("begins");
        steps::commit(&mut tx, &step).await?;
        tx.commit().await.expect("commits");
        Ok(())
    }
}

pub fn backbone(name: &str) -> BaseModel<'_> {
    BaseModel {
        name,
        family: "bert",
        folder: "/models/mini",
        sha256: None,
        parameters: 100,
        hidden_size: 8,
        max_tokens: 128,
        owned_by: "blindtune",
    }
}

pub fn metadata(pairs: &[(&str, &str)]) -> Metadata {
    Metadata(pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect())
}
