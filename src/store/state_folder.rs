//! The folder in which a host keeps its state. Owns who may look into it: this account alone. Must never open what lies in it.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// Nobody else may read or enter.
const PRIVATE: u32 = 0o700;
/// Others may pass through, to what is theirs, and not look around.
const PASSAGE: u32 = 0o711;

/// Makes the folder, and keeps other accounts out of one that is there. `others_pass`: Postgres runs in it under an account of its own,
/// which must reach its data.
pub fn make(folder: &Path, others_pass: bool) -> std::io::Result<()> {
    let most = if others_pass { PASSAGE } else { PRIVATE };
    let missing: Vec<&Path> = folder.ancestors().take_while(|part| !part.exists()).collect();
    std::fs::create_dir_all(folder)?;
    // Whatever the process's umask made of them.
    for made in missing.iter().filter(|part| !part.as_os_str().is_empty()) {
        std::fs::set_permissions(made, std::fs::Permissions::from_mode(most))?;
    }
    close(folder, most)
}

/// Keeps other accounts out of a folder of the host's own, where it is there.
pub fn make_private(folder: &Path) -> std::io::Result<()> {
    if folder.exists() { close(folder, PRIVATE) } else { Ok(()) }
}

fn close(folder: &Path, most: u32) -> std::io::Result<()> {
    let mode = std::fs::metadata(folder)?.permissions().mode() & 0o777;
    if mode & !most == 0 {
        return Ok(());
    }
    std::fs::set_permissions(folder, std::fs::Permissions::from_mode(mode & most))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(folder: &Path) -> std::io::Result<u32> {
        Ok(std::fs::metadata(folder)?.permissions().mode() & 0o777)
    }

    #[test]
    fn a_folder_is_this_accounts_alone_or_one_to_pass_through() -> std::io::Result<()> {
        let root = tempfile::tempdir()?;
        let (closed, open) = (root.path().join("a/closed"), root.path().join("b/open"));
        make(&closed, false)?;
        make(&open, true)?;
        assert_eq!((mode(&closed)?, mode(&root.path().join("a"))?), (0o700, 0o700));
        assert_eq!((mode(&open)?, mode(&root.path().join("b"))?), (0o711, 0o711));
        std::fs::set_permissions(&closed, std::fs::Permissions::from_mode(0o755))?;
        make(&closed, true)?;
        assert_eq!(mode(&closed)?, 0o711);
        make_private(&closed)?;
        assert_eq!(mode(&closed)?, 0o700);
        make_private(&root.path().join("nothing"))
    }
}
