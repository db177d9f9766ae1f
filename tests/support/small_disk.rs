//! A disk that a test can fill, and free again.

use std::io::Write;
use std::path::PathBuf;
use std::process::Command;

/// A disk in memory. Where this account may mount none it is a folder, and `filler` is what failpoints look for.
pub struct SmallDisk {
    folder: tempfile::TempDir,
    is_mounted: bool,
}

impl SmallDisk {
    /// With room for so many megabytes.
    pub fn new(megabytes: u32) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let place = folder.path().join("disk");
        std::fs::create_dir(&place).expect("a folder");
        let mut mount = Command::new("mount");
        let mount = mount.args(["-t", "tmpfs", "-o", &format!("size={megabytes}m"), "tmpfs"]).arg(&place);
        let is_mounted = mount.status().is_ok_and(|status| status.success());
        Self { folder, is_mounted }
    }

    /// Whether it is one.
    pub fn is_mounted(&self) -> bool {
        self.is_mounted
    }

    /// Where it is.
    pub fn place(&self) -> PathBuf {
        self.folder.path().join("disk")
    }

    /// What is there while it is full.
    pub fn filler(&self) -> PathBuf {
        match self.is_mounted {
            true => self.place().join("filler"),
            false => self.folder.path().join("filler"),
        }
    }

    /// Leaves no room.
    pub fn fill(&self) {
        let mut file = std::fs::File::create(self.filler()).expect("a file");
        while self.is_mounted && file.write_all(&[0; 4096]).is_ok() {}
    }

    /// Leaves room again.
    pub fn free(&self) {
        std::fs::remove_file(self.filler()).expect("is there");
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        if self.is_mounted {
            let _ = Command::new("umount").arg("--lazy").arg(self.place()).status();
        }
    }
}
