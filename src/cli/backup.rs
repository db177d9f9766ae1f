//! `blindtuned backup` and `blindtuned restore`.

use std::path::PathBuf;

use clap::Args;

use crate::app;
use crate::config::Config;

/// Where a backup is.
#[derive(Debug, Args)]
pub struct Backup {
    /// Its folder; a new one for a backup
    folder: PathBuf,
}

impl Backup {
    /// Makes a backup; works beside a running host.
    pub async fn make(self, config: &Config) -> anyhow::Result<()> {
        let made = app::back_up(config, &self.folder).await?;
        let (bytes, blobs) = (made.bytes(), made.blobs());
        println!("{}: {bytes} bytes, the rows and {blobs} blobs of {}", self.folder.display(), made.created_at);
        println!(
            "It holds the keys that the host signs with: keep it as safe as the host. The backbones' own folders are not in it."
        );
        Ok(())
    }

    /// Makes a host of a backup.
    pub async fn restore(self, config: &Config) -> anyhow::Result<()> {
        let found = app::restore(config, &self.folder).await?;
        let blobs = found.blobs();
        println!("restored the rows and {blobs} blobs of {}, made by blindtuned {}", found.created_at, found.blindtune);
        println!(
            "Jobs that were running go on once their hosts' leases are over. `blindtuned models list` names the backbones' folders."
        );
        Ok(())
    }
}
