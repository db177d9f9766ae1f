//! Folders that the account of Postgres can reach. Owns the way out when it cannot: a home folder of mode 0700, say.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::fs::MetadataExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::path::PathBuf;

use sha2::Digest;
use sha2::Sha256;

use crate::store::error::Result;
use crate::store::error::StoreError;
use crate::store::local_postgres::account::Account;
use crate::store::local_postgres::account::cannot_run;

/// Survives a restart of the machine, and everyone can reach it.
const REACHABLE: &str = "/var/tmp";
/// Longest path of a Unix socket on Linux, less the closing zero.
const SOCKET_PATH_BYTES: usize = 107;
/// What Postgres appends to the folder of its sockets, and the lock file that it makes first.
const SOCKET_NAME: &str = "/.s.PGSQL.5432.lock";

/// The folder to use for `data_dir`: itself, or one that the account can reach.
pub(super) async fn home(account: &Account, data_dir: &Path) -> Result<PathBuf> {
    std::fs::create_dir_all(data_dir)?;
    let wanted = std::fs::canonicalize(data_dir)?;
    account.give(&wanted)?;
    std::fs::set_permissions(&wanted, std::fs::Permissions::from_mode(0o700))?;
    if !account.is_other() || account.may("-w", &wanted).await {
        return Ok(wanted);
    }
    let home = own_folder(&wanted)?.join("postgres");
    owned_folder(&home, 0o700, account.uid())?;
    account.give(&home)?;
    tracing::warn!(
        "Postgres does not run as root, and account '{}' cannot reach {}: the data is kept in {}",
        account.name(),
        wanted.display(),
        home.display()
    );
    Ok(std::fs::canonicalize(home)?)
}

/// The programs in `bin`, or a copy that the account can run. The libraries of one that works wherever it lies are noted in the
/// account.
pub(super) async fn programs(account: &mut Account, bin: PathBuf) -> Result<PathBuf> {
    let relocatable = bin.parent().filter(|install| is_relocatable(install));
    if !account.is_other() || account.may("-x", &bin.join("initdb")).await {
        account.libraries = relocatable.map(|install| install.join("lib"));
        return Ok(bin);
    }
    let install = relocatable.ok_or_else(|| {
        StoreError::broken(format!(
            "account '{}', which runs Postgres for root, cannot reach {}",
            account.name(),
            bin.display()
        ))
    })?;
    let age = std::fs::metadata(bin.join("postgres"))?.mtime();
    let copy = own_folder(install)?.join(format!("install-{age}"));
    if !copy.exists() {
        tracing::warn!(
            "account '{}' cannot reach the Postgres in {}: it is copied to {}",
            account.name(),
            install.display(),
            copy.display()
        );
        copy_install(install, &copy).await?;
    }
    account.libraries = Some(copy.join("lib"));
    Ok(copy.join("bin"))
}

/// Whether the folder is an installation of Postgres that works wherever it lies, and nothing more.
fn is_relocatable(install: &Path) -> bool {
    ["share/postgres.bki", "share/postgresql/postgres.bki"].iter().any(|bki| install.join(bki).is_file())
}

async fn copy_install(install: &Path, copy: &Path) -> Result<()> {
    let staged = copy.with_extension(format!("{}.tmp", std::process::id()));
    run("cp", &["-RL".as_ref(), install.as_os_str(), staged.as_os_str()]).await?;
    run("chmod", &["-R".as_ref(), "a+rX".as_ref(), staged.as_os_str()]).await?;
    match std::fs::rename(&staged, copy) {
        // Another host was first.
        Err(_) if copy.exists() => Ok(std::fs::remove_dir_all(&staged)?),
        done => Ok(done?),
    }
}

async fn run(program: &str, arguments: &[&std::ffi::OsStr]) -> Result<()> {
    let output = tokio::process::Command::new(program).args(arguments).output().await;
    let output = output.map_err(|error| cannot_run(program, &error))?;
    if !output.status.success() {
        return Err(StoreError::broken(format!("{program}: {}", String::from_utf8_lossy(&output.stderr).trim())));
    }
    Ok(())
}

/// A folder for the socket: under `home`, or a short one when that path is too long for a socket.
pub(super) fn sockets(account: &Account, home: &Path) -> Result<PathBuf> {
    let near = home.join("socket");
    let folder = if near.as_os_str().len() + SOCKET_NAME.len() <= SOCKET_PATH_BYTES {
        near
    } else {
        std::env::temp_dir().join(format!("blindtune-{}-socket", short_hash(home)))
    };
    owned_folder(&folder, 0o700, account.uid())?;
    account.give(&folder)?;
    Ok(folder)
}

/// A folder of this process's under [`REACHABLE`], named after what it stands in for.
fn own_folder(for_path: &Path) -> Result<PathBuf> {
    let folder = Path::new(REACHABLE).join(format!("blindtune-{}", short_hash(for_path)));
    owned_folder(&folder, 0o755, None)?;
    Ok(folder)
}

fn short_hash(path: &Path) -> String {
    hex::encode(&Sha256::digest(path.as_os_str().as_encoded_bytes())[..6])
}

/// Makes a folder. One that is there is used only when it is a folder, and this account's or `owner`'s: in a place where
/// everyone may write, somebody else could have put it there.
fn owned_folder(folder: &Path, mode: u32, owner: Option<u32>) -> Result<()> {
    match DirBuilder::new().mode(mode).create(folder) {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
        done => done?,
    }
    let found = std::fs::symlink_metadata(folder)?;
    let mine = std::fs::metadata("/proc/self")?.uid();
    if !found.is_dir() || (found.uid() != mine && Some(found.uid()) != owner) {
        return Err(StoreError::broken(format!("{} is there already, and belongs to somebody else", folder.display())));
    }
    std::fs::set_permissions(folder, std::fs::Permissions::from_mode(mode))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_put_in_the_way_is_not_used() -> std::io::Result<()> {
        let root = tempfile::tempdir()?;
        let link = root.path().join("link");
        std::os::unix::fs::symlink("/", &link)?;
        assert!(owned_folder(&link, 0o700, None).is_err());
        let folder = root.path().join("folder");
        assert!(owned_folder(&folder, 0o700, None).is_ok());
        assert!(owned_folder(&folder, 0o700, None).is_ok(), "one's own folder is used again");
        assert_eq!(std::fs::metadata(&folder)?.mode() & 0o777, 0o700);
        Ok(())
    }

    #[tokio::test]
    async fn a_program_that_is_not_there_is_named() {
        let error = run("no-such-cp", &[]).await.expect_err("there is none");
        assert!(error.to_string().contains("no-such-cp cannot be run: "), "{error}");
    }

    #[test]
    fn a_socket_path_stays_within_what_the_system_takes() -> Result<()> {
        let account = Account::choose()?;
        let root = tempfile::tempdir()?;
        assert_eq!(sockets(&account, root.path())?, root.path().join("socket"));
        let long = root.path().join("x".repeat(120));
        std::fs::create_dir(&long)?;
        let folder = sockets(&account, &long)?;
        assert!(folder.as_os_str().len() + SOCKET_NAME.len() <= SOCKET_PATH_BYTES, "{}", folder.display());
        Ok(std::fs::remove_dir(folder)?)
    }
}
