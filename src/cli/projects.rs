//! `blindtuned projects`.

use clap::Args;
use clap::Subcommand;

use crate::app::AdminApp;
use crate::config::Config;
use crate::domain::quota::Quota;

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
        let done = self.run_at(&admin).await;
        admin.close().await?;
        done
    }

    async fn run_at(self, admin: &AdminApp) -> anyhow::Result<()> {
        let projects = match self {
            Self::List => admin.keys.projects().await?,
            Self::Limit { name, limits } => vec![admin.keys.limit_project(&name, limits.into()).await?],
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
