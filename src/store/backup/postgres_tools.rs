//! Postgres's own programs for a backup, `pg_dump` and `pg_restore`. Owns how they are found and called; must never put a password where
//! other accounts see it.

use std::ffi::OsStr;
use std::path::Path;
use std::path::PathBuf;

use tokio::process::Command;
use url::Url;

use crate::store::error::Result;
use crate::store::error::StoreError;
use crate::store::local_postgres::programs_of;
use crate::store::pool;
use crate::store::pool::Pool;

/// The programs, of the server's own major version: an older `pg_dump` refuses a newer server.
pub struct PostgresTools {
    bin: PathBuf,
    version: String,
}

impl PostgresTools {
    /// Finds those for the server behind the pool.
    pub async fn find(pool: &Pool) -> Result<Self> {
        let version = pool::server_version(pool).await?;
        let major: String = version.chars().take_while(char::is_ascii_digit).collect();
        Ok(Self { bin: programs_of(&major).await?, version })
    }

    /// The server's version, `15.18 (Debian 15.18-0+deb12u1)` for example.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Writes the rows as they are at a snapshot.
    pub async fn dump(&self, url: &str, snapshot: &str, target: &Path) -> Result<()> {
        let snapshot = format!("--snapshot={snapshot}");
        let arguments = ["--format=custom".as_ref(), snapshot.as_ref(), "--file".as_ref(), target.as_os_str()];
        self.run("pg_dump", url, &arguments).await
    }

    /// Fills an empty database, wholly or not at all.
    pub async fn restore(&self, url: &str, source: &Path) -> Result<()> {
        let arguments = ["--exit-on-error".as_ref(), "--single-transaction".as_ref(), source.as_os_str()];
        self.run("pg_restore", url, &arguments).await
    }

    /// Neither program says whose the rows are: a restored host may have another account.
    async fn run(&self, program: &str, url: &str, arguments: &[&OsStr]) -> Result<()> {
        let mut url = Url::parse(url).map_err(StoreError::broken)?;
        let password =
            url.password().map(|text| percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned());
        let _ = url.set_password(None); // an address without a host has none to set
        let mut command = Command::new(self.bin.join(program));
        command.args(["--no-owner", "--no-privileges", "--dbname", url.as_str()]).args(arguments).kill_on_drop(true);
        if let Some(password) = password {
            command.env("PGPASSWORD", password);
        }
        let output = command.output().await.map_err(|error| {
            StoreError::broken(format!("{} cannot be run: {error}", self.bin.join(program).display()))
        })?;
        if output.status.success() {
            return Ok(());
        }
        Err(StoreError::broken(format!("{program}: {}", String::from_utf8_lossy(&output.stderr).trim())))
    }
}
