//! Where and how the private Postgres runs. Owns the pauses between two looks at it; knows no process.

use std::path::PathBuf;
use std::time::Duration;

/// Pause between two looks at something that another process does.
pub const POLL: Duration = Duration::from_millis(20);

/// Pause after a failed restart.
pub const RESTART_PAUSE: Duration = Duration::from_millis(500);

/// Where and how the private Postgres runs.
#[derive(Debug, Clone)]
pub struct LocalPostgresSettings {
    /// Folder for its data; made when it is not there. Nothing else may be kept in it.
    pub data_dir: PathBuf,
    /// Folder with `initdb` and `postgres`; `None` looks in the usual places.
    pub bin_dir: Option<PathBuf>,
    /// Whether what is committed survives a power cut; `false` is for tests only.
    pub durable: bool,
    pub log: PathBuf,
}
