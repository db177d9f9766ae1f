//! Which process a state folder belongs to, and which it belonged to before. Owns the file `host.lock`: held by a lock of the kernel
//! that ends with its process however that ends, so that a host which was killed is known to be dead, and its leases need not be waited
//! for. Must never take the lock of a process that lives.

use std::fs::File;
use std::fs::TryLockError;
use std::io::Read;
use std::io::Seek;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use uuid::Uuid;

use crate::store::error::Result;

/// The state folder's lock, held by this process until it ends; or the news that another process holds it.
#[derive(Debug)]
pub struct HostLock {
    /// `None`: another process holds it.
    file: Option<File>,
    /// The owner of leases that held the lock before, and is dead.
    dead: Option<Uuid>,
}

impl HostLock {
    /// Takes the lock of a state folder, unless another process holds it.
    pub fn take(folder: &Path) -> Result<Self> {
        let path = folder.join("host.lock");
        let mut file = File::options().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(Self { file: None, dead: None }),
            // A file system without locks: leases are waited for, as on another machine.
            Err(TryLockError::Error(error)) => {
                tracing::warn!(%error, "the state folder cannot be locked: {error}");
                return Ok(Self { file: None, dead: None });
            }
        }
        let mut text = String::new();
        // What cannot be read names nobody: then the leases are waited for.
        let _ = file.read_to_string(&mut text);
        let dead = text.split_once(' ').filter(|(_, at)| place(&file).is_ok_and(|place| place == *at));
        let dead = dead.and_then(|(owner, _)| owner.parse().ok());
        Ok(Self { file: Some(file), dead })
    }

    /// The owner of leases whose process held this lock and is dead. Another one's leases must be waited for.
    pub fn dead_owner(&self) -> Option<Uuid> {
        self.dead
    }

    /// Notes who holds the lock now, for whoever comes after; to be called once the dead owner's leases were ended.
    pub fn record(&mut self, owner: Uuid) -> Result<()> {
        let Some(file) = &mut self.file else { return Ok(()) };
        let text = format!("{owner} {}", place(file)?);
        file.set_len(0)?;
        file.rewind()?;
        file.write_all(text.as_bytes())?;
        Ok(file.sync_all()?)
    }
}

/// Tells the file from a copy of it: the owner of a folder that was copied may be alive elsewhere.
fn place(file: &File) -> std::io::Result<String> {
    let found = file.metadata()?;
    Ok(format!("{}:{}", found.dev(), found.ino()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lock_names_its_last_holder_once_that_is_gone() -> Result<()> {
        let folder = tempfile::tempdir()?;
        let (first, second) = (Uuid::new_v4(), Uuid::new_v4());
        let mut lock = HostLock::take(folder.path())?;
        assert_eq!(lock.dead_owner(), None);
        lock.record(first)?;
        let mut beside = HostLock::take(folder.path())?;
        assert_eq!(beside.dead_owner(), None, "the first one lives");
        beside.record(second)?;
        drop(lock);
        assert_eq!(HostLock::take(folder.path())?.dead_owner(), Some(first));
        Ok(())
    }

    #[test]
    fn a_copy_of_the_folder_names_nobody() -> Result<()> {
        let (folder, copy) = (tempfile::tempdir()?, tempfile::tempdir()?);
        HostLock::take(folder.path())?.record(Uuid::new_v4())?;
        std::fs::copy(folder.path().join("host.lock"), copy.path().join("host.lock"))?;
        assert_eq!(HostLock::take(copy.path())?.dead_owner(), None);
        Ok(())
    }
}
