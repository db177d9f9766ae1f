//! The account under which Postgres runs: it refuses to run as root. Owns how its programs are started.

use std::ffi::OsStr;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::path::PathBuf;
use std::process::Stdio;

use tokio::process::Command;

use crate::store::error::Result;
use crate::store::error::StoreError;

/// Accounts to run under in place of root, the best first.
const UNPRIVILEGED: [&str; 2] = ["postgres", "nobody"];

/// Who runs the programs of Postgres.
#[derive(Debug, Clone)]
pub(super) struct Account {
    /// Set when this process is root and must step down.
    other: Option<(u32, u32, String)>,
    /// Libraries of a copied installation.
    pub(super) libraries: Option<PathBuf>,
}

impl Account {
    /// This process's own account, or an unprivileged one when that is root.
    pub(super) fn choose() -> Result<Self> {
        if std::fs::metadata("/proc/self")?.uid() != 0 {
            return Ok(Self { other: None, libraries: None });
        }
        let accounts = std::fs::read_to_string("/etc/passwd")?;
        let found = UNPRIVILEGED.iter().find_map(|name| passwd_entry(&accounts, name));
        let other = found.ok_or_else(|| {
            StoreError::broken(
                "Postgres does not run as root, and there is no account 'postgres' or 'nobody' to run it",
            )
        })?;
        Ok(Self { other: Some(other), libraries: None })
    }

    /// Whether programs run under another account than this process.
    pub(super) fn is_other(&self) -> bool {
        self.other.is_some()
    }

    /// The name, for people.
    pub(super) fn name(&self) -> &str {
        self.other.as_ref().map_or("this account", |(_, _, name)| name)
    }

    /// The user id that must own what Postgres writes; `None` when it is this process's.
    pub(super) fn uid(&self) -> Option<u32> {
        self.other.as_ref().map(|(uid, _, _)| *uid)
    }

    /// Hands a file or folder to the account.
    pub(super) fn give(&self, path: &Path) -> std::io::Result<()> {
        match &self.other {
            Some((uid, gid, _)) => std::os::unix::fs::chown(path, Some(*uid), Some(*gid)),
            None => Ok(()),
        }
    }

    /// A program under this account, away from the terminal's signals, and without the settings that libpq would read.
    pub(super) fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        command.current_dir("/").process_group(0).stdin(Stdio::null()).env("LC_ALL", "C");
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("PG")) {
            command.env_remove(name);
        }
        if let Some((uid, gid, _)) = &self.other {
            command.uid(*uid).gid(*gid);
        }
        if let Some(libraries) = &self.libraries {
            command.env("LD_LIBRARY_PATH", libraries);
        }
        command
    }

    /// Whether `test <flag> <path>` holds for the account: `-x` may enter or run, `-w` may write.
    pub(super) async fn may(&self, flag: &str, path: &Path) -> bool {
        let test = self.command("/bin/sh").args(["-c", "test \"$1\" \"$2\"", "sh", flag]).arg(path).status().await;
        test.is_ok_and(|status| status.success())
    }
}

/// A program that could not even be begun: the system's words alone do not say which.
pub(super) fn cannot_run(program: impl AsRef<Path>, error: &std::io::Error) -> StoreError {
    StoreError::broken(format!("{} cannot be run: {error}", program.as_ref().display()))
}

/// User id, group id and name of an account in the text of `/etc/passwd`.
fn passwd_entry(accounts: &str, name: &str) -> Option<(u32, u32, String)> {
    let mut fields = accounts.lines().map(|line| line.split(':')).find(|fields| fields.clone().next() == Some(name))?;
    let uid = fields.nth(2)?.parse().ok()?;
    let gid = fields.next()?.parse().ok()?;
    Some((uid, gid, name.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_is_found_by_its_whole_name() {
        let accounts =
            "root:x:0:0:root:/root:/bin/bash\npostgres2:x:7:8::/:/bin/sh\npostgres:x:101:104:,,,:/:/bin/bash\n";
        assert_eq!(passwd_entry(accounts, "postgres"), Some((101, 104, "postgres".to_owned())));
        assert_eq!(passwd_entry(accounts, "nobody"), None);
    }
}
