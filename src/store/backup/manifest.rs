//! What a backup holds, as its manifest says. Owns the format's number and that a folder without a manifest is no backup; must never
//! read what the entries hold.

use std::path::Component;
use std::path::Path;

use serde::Deserialize;
use serde::Serialize;
use time::OffsetDateTime;

use crate::store::error::Result;
use crate::store::error::StoreError;
use crate::store::private_files;

const NAME: &str = "manifest.json";
/// The one form that this program writes and reads.
const FORMAT: u32 = 1;

/// A file of the backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Path below the folder.
    pub name: String,
    pub bytes: u64,
    /// In hexadecimal.
    pub sha256: String,
}

/// The manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    format: u32,
    /// Version of the program that wrote it.
    pub blindtune: String,
    /// Version of Postgres that the rows come from.
    pub postgres: String,
    /// When it was made.
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
    /// The one project that it holds; none: the whole host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project: Option<String>,
    /// Every file but this one.
    pub entries: Vec<Entry>,
}

impl Manifest {
    /// Of a backup that is whole.
    pub fn new(created_at: OffsetDateTime, postgres: &str, entries: Vec<Entry>) -> Self {
        let blindtune = env!("CARGO_PKG_VERSION").to_owned();
        Self { format: FORMAT, blindtune, postgres: postgres.to_owned(), created_at, project: None, entries }
    }

    /// The same, of one project.
    pub fn of_project(self, name: &str) -> Self {
        Self { project: Some(name.to_owned()), ..self }
    }

    /// Bytes of all files together.
    pub fn bytes(&self) -> u64 {
        self.entries.iter().map(|entry| entry.bytes).sum()
    }

    /// How many blobs there are.
    pub fn blobs(&self) -> usize {
        self.entries.iter().filter(|entry| entry.name.starts_with("blobs/")).count()
    }

    /// Writes it, durably and in one go.
    pub fn write(&self, folder: &Path) -> Result<()> {
        let text = serde_json::to_vec_pretty(self).map_err(StoreError::broken)?;
        let staged = folder.join("manifest.part");
        private_files::write(&staged, &text)?;
        std::fs::rename(&staged, folder.join(NAME))?;
        Ok(std::fs::File::open(folder)?.sync_all()?)
    }

    /// Reads the manifest of a backup.
    pub fn read(folder: &Path) -> Result<Self> {
        let refuse = |reason: String| StoreError::broken(format!("{} is not a backup: {reason}", folder.display()));
        let text = std::fs::read(folder.join(NAME)).map_err(|error| refuse(format!("{NAME}: {error}")))?;
        let found: Self = serde_json::from_slice(&text).map_err(|error| refuse(format!("{NAME}: {error}")))?;
        if found.format != FORMAT {
            let text = format!("it has format {}, this program reads format {FORMAT}", found.format);
            return Err(refuse(text));
        }
        let is_below =
            |entry: &Entry| Path::new(&entry.name).components().all(|part| matches!(part, Component::Normal(_)));
        match found.entries.iter().find(|entry| !is_below(entry)) {
            Some(entry) => Err(refuse(format!("'{}' leads out of it", entry.name))),
            None => Ok(found),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(name: &str, bytes: u64) -> Entry {
        Entry { name: name.to_owned(), bytes, sha256: "5f".repeat(32) }
    }

    #[test]
    fn a_manifest_is_read_as_it_was_written_and_leads_nowhere_else() {
        let folder = tempfile::tempdir().expect("a folder");
        let entries = vec![entry("blobs/files/a", 3), entry("database.dump", 0)];
        let written = Manifest::new(OffsetDateTime::UNIX_EPOCH, "15.18", entries);
        assert_eq!((written.bytes(), written.blobs()), (3, 1));
        assert!(Manifest::read(folder.path()).expect_err("not there").to_string().contains("not a backup"));
        written.write(folder.path()).expect("writes");
        assert_eq!(Manifest::read(folder.path()).expect("reads"), written);
        let astray = Manifest { entries: vec![entry("blobs/../../etc/passwd", 0)], ..written };
        astray.write(folder.path()).expect("writes");
        assert!(Manifest::read(folder.path()).expect_err("leads out").to_string().contains("leads out"));
    }
}
