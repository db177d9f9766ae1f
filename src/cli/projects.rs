//! `blindtuned projects`.

use std::path::Path;
use std::path::PathBuf;

use clap::Args;
use clap::Subcommand;
use serde_json::Value;
use serde_json::json;

use crate::app::AdminApp;
use crate::config::Config;
use crate::domain::quota::Quota;
use crate::service::ErasedProject;
use crate::service::Projects;

/// What to do with projects.
#[derive(Debug, Subcommand)]
pub enum ProjectsCommand {
    /// List projects and their limits
    List,
    /// Set a project's limits; what is not given has no limit of its own
    Limit {
        /// Its name
        name: String,
        #[command(flatten)]
        limits: Limits,
    },
    /// Write all that the host keeps of a project into a folder: rows as JSON lines, files, models and checkpoints
    Export {
        /// Its name
        name: String,
        /// A new folder
        folder: PathBuf,
    },
    /// Delete a project for good, with its keys, jobs, files and models; prints a receipt
    Delete {
        /// Its name
        name: String,
        /// Do it; else the receipt says what would be deleted
        #[arg(long)]
        yes: bool,
    },
}

/// Limits of a key or a project.
#[derive(Debug, Args)]
pub struct Limits {
    /// Requests a minute
    #[arg(long)]
    requests_per_minute: Option<i64>,
    /// Tokens a minute
    #[arg(long)]
    tokens_per_minute: Option<i64>,
    /// Budget of tokens for a calendar month (UTC)
    #[arg(long)]
    monthly_tokens: Option<i64>,
    /// Budget of device time for a calendar month (UTC), in seconds
    #[arg(long)]
    monthly_device_seconds: Option<i64>,
}

impl From<Limits> for Quota {
    fn from(limits: Limits) -> Self {
        let Limits { requests_per_minute, tokens_per_minute, monthly_tokens, monthly_device_seconds } = limits;
        Self { requests_per_minute, tokens_per_minute, monthly_tokens, monthly_device_seconds }
    }
}

impl ProjectsCommand {
    /// Runs the command; works beside a running host.
    pub async fn run(self, config: &Config) -> anyhow::Result<()> {
        let admin = AdminApp::open(config).await?;
        let done = match self {
            Self::Export { name, folder } => export(&admin.projects(config).await?, &name, &folder).await,
            Self::Delete { name, yes } => delete(&admin.projects(config).await?, &name, yes).await,
            listed => listed.run_at(&admin).await,
        };
        admin.close().await?;
        done
    }

    async fn run_at(self, admin: &AdminApp) -> anyhow::Result<()> {
        let projects = match self {
            Self::Limit { name, limits } => vec![admin.keys.limit_project(&name, limits.into()).await?],
            _ => admin.keys.projects().await?,
        };
        let shown = |value: Option<i64>| value.map_or("-".to_owned(), |value| value.to_string());
        let rows = projects.into_iter().map(|project| {
            let quota = project.quota;
            vec![
                project.id.to_string(),
                project.name,
                shown(quota.requests_per_minute),
                shown(quota.tokens_per_minute),
                shown(quota.monthly_tokens),
                shown(quota.monthly_device_seconds),
            ]
        });
        let header = ["id", "name", "requests/min", "tokens/min", "tokens/month", "device s/month"];
        super::print_table(&header, &rows.collect::<Vec<_>>());
        Ok(())
    }
}

async fn export(projects: &Projects, name: &str, folder: &Path) -> anyhow::Result<()> {
    let made = projects.export(name, folder).await?;
    let (bytes, blobs) = (made.bytes(), made.blobs());
    println!("{}: {bytes} bytes, the rows and {blobs} blobs of '{name}' at {}", folder.display(), made.created_at);
    Ok(())
}

async fn delete(projects: &Projects, name: &str, yes: bool) -> anyhow::Result<()> {
    let erased = if yes { projects.delete(name).await? } else { projects.preview(name).await? };
    println!("{:#}", receipt(name, &erased, yes));
    anyhow::ensure!(yes, "nothing was deleted: add --yes for that");
    Ok(())
}

/// What was deleted, for whoever must show it.
fn receipt(name: &str, erased: &ErasedProject, deleted: bool) -> Value {
    json!({
        "object": "project.deleted",
        "name": name,
        "deleted": deleted,
        "rows": erased.rows,
        "blobs": erased.blobs.len(),
        "bytes": erased.bytes,
    })
}
