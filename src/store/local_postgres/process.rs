//! The running postmaster and its watchdog. Owns how it is noticed, asked to end and made to end; must never start one.

use std::path::Path;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Child;
use tokio::time::Instant;

use crate::store::error::Result;
use crate::store::local_postgres::account::Account;
use crate::store::local_postgres::account::cannot_run;
use crate::store::local_postgres::settings::POLL;

/// How long a shutdown in good order may take; it writes a checkpoint.
const STOP_WITHIN: Duration = Duration::from_secs(10);
/// How long a shutdown without a checkpoint may take.
const ABORT_WITHIN: Duration = Duration::from_secs(5);

/// Waits until the host is gone or lets go, then asks for a fast shutdown; unless another process has that number by then.
const WATCHDOG: &str = r#"
trap '' HUP INT TERM
read -r _
[ "$(head -n 1 "$2" 2>/dev/null)" = "$1" ] && kill -s INT "$1"
"#;

/// What `postmaster.pid` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PidFile {
    /// The postmaster.
    pub(super) pid: u32,
    /// Folder of its socket.
    pub(super) sockets: PathBuf,
    /// `starting`, `ready`, `stopping`; empty before it says so.
    pub(super) status: String,
}

impl PidFile {
    /// Path of the file in a data folder.
    pub(super) fn path(data: &Path) -> PathBuf {
        data.join("postmaster.pid")
    }

    /// Reads the file of a live postmaster; `None` when there is none, or when it was left behind by one that died.
    pub(super) fn of_live(data: &Path) -> Option<Self> {
        let found = Self::parse(&std::fs::read_to_string(Self::path(data)).ok()?)?;
        is_alive(found.pid, data).then_some(found)
    }

    /// Lines: pid, data folder, start time, port, socket folder, address, shared memory key, status.
    fn parse(text: &str) -> Option<Self> {
        let mut lines = text.lines().map(str::trim);
        Some(Self {
            pid: lines.next()?.parse().ok()?,
            sockets: PathBuf::from(lines.nth(3).unwrap_or_default()),
            status: lines.nth(2).unwrap_or_default().to_owned(),
        })
    }

    /// Whether connections are taken.
    pub(super) fn is_ready(&self) -> bool {
        self.status == "ready"
    }
}

/// Whether the process is a postmaster of that data folder: it stands in it. A number that was given out again is not.
fn is_alive(pid: u32, data: &Path) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let Some((name, state)) = name_and_state(&stat) else { return false };
    if matches!(state, 'Z' | 'X') {
        return false;
    }
    match std::fs::read_link(format!("/proc/{pid}/cwd")) {
        Ok(cwd) => cwd == data,
        // Root in a container may not look into another account's process.
        Err(error) => error.kind() == std::io::ErrorKind::PermissionDenied && name == "postgres",
    }
}

/// Program name and state in the text of `/proc/<pid>/stat`.
fn name_and_state(stat: &str) -> Option<(&str, char)> {
    let (start, rest) = stat.rsplit_once(") ")?;
    Some((start.split_once('(')?.1, rest.chars().next()?))
}

/// A postmaster that this host answers for.
#[derive(Debug)]
pub(super) struct Running {
    account: Account,
    data: PathBuf,
    pid: u32,
    /// `None` for one that was adopted.
    child: Option<Child>,
    /// Its standard input is the pipe that keeps Postgres up.
    watchdog: Child,
}

impl Running {
    /// Sets a watchdog over a postmaster: over a child, or over one that was found running.
    pub(super) fn watch(account: &Account, data: &Path, pid: u32, child: Option<Child>) -> Result<Self> {
        let watchdog = account
            .command("/bin/sh")
            .args(["-c", WATCHDOG, "sh", &pid.to_string()])
            .arg(PidFile::path(data))
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| cannot_run("/bin/sh", &error))?;
        Ok(Self { account: account.clone(), data: data.to_owned(), pid, child, watchdog })
    }

    /// Returns when the postmaster has ended.
    pub(super) async fn ended(&mut self) {
        if let Some(child) = &mut self.child {
            // An error means that there is nothing to wait for.
            let _ = child.wait().await;
        }
        while is_alive(self.pid, &self.data) {
            tokio::time::sleep(POLL).await;
        }
    }

    /// Whether the postmaster has ended.
    pub(super) fn has_ended(&mut self) -> bool {
        match &mut self.child {
            Some(child) => !matches!(child.try_wait(), Ok(None)),
            None => !is_alive(self.pid, &self.data),
        }
    }

    /// Shuts down in good order, and with more force when that takes too long. Returns when the postmaster has ended.
    pub(super) async fn stop(&mut self) {
        drop(self.watchdog.stdin.take());
        if !self.ends_by(Instant::now() + STOP_WITHIN).await {
            tracing::warn!("the private Postgres does not end; forcing it");
            self.signal("QUIT").await;
            if !self.ends_by(Instant::now() + ABORT_WITHIN).await {
                self.signal("KILL").await;
                self.ended().await;
            }
        }
        let _ = self.watchdog.wait().await;
    }

    async fn ends_by(&mut self, deadline: Instant) -> bool {
        tokio::time::timeout_at(deadline, self.ended()).await.is_ok()
    }

    async fn signal(&self, name: &str) {
        if is_alive(self.pid, &self.data) {
            let pid = self.pid.to_string();
            // A process that ended in between needs no signal.
            let _ =
                self.account.command("/bin/sh").args(["-c", "kill -s \"$1\" \"$2\"", "sh", name, &pid]).status().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pid_file_is_read_whole_and_half_written() {
        let whole = "4711\n/d/cluster\n1763909000\n5432\n/d/socket\n\n  1234567   65537\nready   \n";
        let found = PidFile { pid: 4711, sockets: "/d/socket".into(), status: "ready".to_owned() };
        assert_eq!(PidFile::parse(whole), Some(found));
        let half = PidFile::parse("4711\n/d/cluster\n1763909000\n5432\n").expect("a pid");
        assert!(!half.is_ready());
        assert_eq!(PidFile::parse(""), None);
    }

    #[test]
    fn another_process_under_the_same_number_is_not_taken_for_postgres() {
        assert!(!is_alive(std::process::id(), Path::new("/no/such/cluster")));
        assert_eq!(name_and_state("7 (post (gres) S 1 7"), Some(("post (gres", 'S')));
        assert_eq!(name_and_state(""), None);
    }
}
