//! `blindtuned keys`.

use std::collections::BTreeSet;
use std::path::Path;
use std::path::PathBuf;

use clap::Subcommand;
use time::format_description::well_known::Rfc3339;

use crate::app;
use crate::app::AdminApp;
use crate::cli::projects::Limits;
use crate::config::Config;
use crate::domain::ids::KeyId;
use crate::domain::principal::Scope;
use crate::domain::principal::scopes_of;
use crate::service::NewKey;

/// What to do with keys.
#[derive(Debug, Subcommand)]
pub enum KeysCommand {
    /// Make a key; it is printed once and cannot be shown again
    Create {
        /// Project that the key belongs to; made when it does not exist
        #[arg(long, default_value = "default")]
        project: String,
        /// What the key is called in lists
        #[arg(long, default_value = "key")]
        name: String,
        /// What it may do, comma-separated, `files:*` for all of a kind; everything but admin and operator by default
        #[arg(long, value_delimiter = ',', value_parser = known_scopes)]
        scopes: Vec<Scopes>,
        /// Life in days, at most 366 [default: keys.default_days]
        #[arg(long)]
        days: Option<u32>,
        #[command(flatten)]
        limits: Limits,
    },
    /// List keys, without their secrets
    List,
    /// End a key's life
    Revoke {
        /// Its id, `key-...`
        id: String,
    },
    /// Sign with the key pair of this state folder from now on; every key that another pair signed stops working
    AdoptSigningKey,
    /// Make a key for blobs in a new file; name it in state.blob_keys, and keep a copy: without it the blobs are lost
    NewBlobKey {
        /// The file, which must not be there yet
        file: PathBuf,
    },
}

/// What one word of `--scopes` stands for.
#[derive(Debug, Clone)]
pub struct Scopes(Vec<Scope>);

fn known_scopes(text: &str) -> Result<Scopes, String> {
    let known = || Scope::ALL.map(Scope::as_str).join(", ");
    scopes_of(text).map(Scopes).map_err(|_| format!("there is no scope '{text}'; the scopes are {}", known()))
}

impl KeysCommand {
    /// Runs the command; works beside a running host.
    pub async fn run(self, config: &Config) -> anyhow::Result<()> {
        if let Self::NewBlobKey { file } = &self {
            return new_blob_key(file); // before there is a database
        }
        let admin = match self {
            Self::AdoptSigningKey => AdminApp::open_with_any_key(config).await?,
            _ => AdminApp::open(config).await?,
        };
        let done = self.run_at(&admin, config).await;
        admin.close().await?;
        done
    }

    async fn run_at(self, admin: &AdminApp, config: &Config) -> anyhow::Result<()> {
        match self {
            Self::Create { project, name, scopes, days, limits } => {
                let scopes: BTreeSet<Scope> = if scopes.is_empty() {
                    Scope::by_default()
                } else {
                    scopes.into_iter().flat_map(|scopes| scopes.0).collect()
                };
                let days = days.unwrap_or(config.keys.default_days);
                let new = NewKey { name, scopes, days: Some(days), quota: limits.into() };
                let (row, key) = admin.keys.create_for(&project, new).await?;
                let id = row.id;
                eprintln!("{id}: store this key; it is not shown again");
                println!("{key}");
            }
            Self::List => list(admin).await?,
            Self::AdoptSigningKey => {
                let kid = admin.keys.adopt_signing_key().await?;
                println!(
                    "the keys of this database are signed by {kid} from now on; hosts with another key pair do not start"
                );
            }
            Self::NewBlobKey { file } => new_blob_key(&file)?,
            Self::Revoke { id } => {
                let key: KeyId = id.parse().map_err(|_| anyhow::anyhow!("'{id}' is not a key's id (key-...)"))?;
                admin.keys.revoke(None, key).await?;
                println!("{key} is revoked; a running host refuses it within {} s", config.keys.cache_secs);
            }
        }
        Ok(())
    }
}

fn new_blob_key(file: &Path) -> anyhow::Result<()> {
    let id = app::new_blob_key(file)?;
    println!("{}: key {id}; name the file first in state.blob_keys, and keep a copy elsewhere", file.display());
    Ok(())
}

async fn list(admin: &AdminApp) -> anyhow::Result<()> {
    let keys = admin.keys.list().await?;
    let day = |at: Option<time::OffsetDateTime>| {
        at.and_then(|at| at.format(&Rfc3339).ok()).map_or("-".into(), |text| text[..10].to_owned())
    };
    let rows = keys.into_iter().map(|key| {
        let scopes: Vec<&str> = key.scopes.iter().map(|scope| scope.as_str()).collect();
        let state = if key.revoked_at.is_some() { "revoked" } else { "" };
        vec![
            key.id.to_string(),
            key.name,
            key.project.to_string(),
            day(key.expires_at),
            day(key.last_used_at),
            scopes.join(","),
            state.into(),
        ]
    });
    super::print_table(&["id", "name", "project", "expires", "last used", "scopes", ""], &rows.collect::<Vec<_>>());
    Ok(())
}
