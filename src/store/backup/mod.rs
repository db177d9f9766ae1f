//! A copy of everything that a host remembers, in one folder, and a host made of it again. Owns what belongs to a backup and that the
//! rows and the blobs in it are of one moment; must never change the database or the blobs that it copies.
//!
//! ```text
//! manifest.json    what there is, with SHA-256 and bytes; written last: a folder without it is not a backup
//! database.dump    pg_dump's custom format
//! blobs/<path>     what the rows name, under the same paths; encrypted blobs stay so, and the keys for them are not in a backup
//! keys/            the keys that the host signs and seals with: whoever has the backup has them
//! ```
//!
//! The rows are read at one snapshot, by `pg_dump` itself. A blob never changes under its name, so the ones that these rows name make
//! the moment whole, whatever the host writes meanwhile. One that is deleted before it is copied ends the try, and the next begins at
//! a new snapshot.

mod copying;
mod manifest;
mod postgres_tools;
mod project;

use std::path::Path;

use time::OffsetDateTime;
use tokio::io::AsyncReadExt;

use crate::store::backup::copying::PIECE;
use crate::store::backup::copying::TRIES;
use crate::store::backup::copying::copy_blobs;
use crate::store::backup::copying::deleted_meanwhile;
use crate::store::backup::copying::hash_of;
use crate::store::backup::copying::make_empty;
use crate::store::backup::manifest::Entry;
use crate::store::backup::postgres_tools::PostgresTools;
use crate::store::blobs::BlobKind;
use crate::store::blobs::Blobs;
use crate::store::error::Result;
use crate::store::error::StoreError;
use crate::store::files;
use crate::store::pool;
use crate::store::pool::Pool;
use crate::store::private_files;

pub use manifest::Manifest;
pub use project::export;

const DUMP: &str = "database.dump";
const KEYS: &str = "keys";
/// What is copied, or made.
pub struct Places<'a> {
    /// Where the database is.
    pub database_url: &'a str,
    /// Connections to it.
    pub pool: &'a Pool,
    /// The blobs.
    pub blobs: &'a Blobs,
    /// The host's own keys.
    pub keys: &'a Path,
}

/// Copies everything into `folder`, which is made and must be empty.
pub async fn write(places: &Places<'_>, folder: &Path) -> Result<Manifest> {
    make_empty(folder)?;
    let tools = PostgresTools::find(places.pool).await?;
    let mut copied = None;
    for _ in 0..TRIES {
        copied = copy_at_one_moment(places, &tools, folder).await?;
        if copied.is_some() {
            break;
        }
    }
    let Copied { at, mut entries } = copied.ok_or_else(deleted_meanwhile)?;
    private_files::make_folder(&folder.join(KEYS))?;
    for key in names_in(places.keys)? {
        let name = format!("{KEYS}/{key}");
        private_files::write(&folder.join(&name), &std::fs::read(places.keys.join(&key))?)?;
        entries.push(hash_of(folder, &name).await?);
    }
    let manifest = Manifest::new(at, tools.version(), entries);
    manifest.write(folder)?;
    Ok(manifest)
}

/// Rows and blobs of one moment.
struct Copied {
    at: OffsetDateTime,
    entries: Vec<Entry>,
}

/// The dump, and the blobs that its rows name; `None` where one of them was deleted meanwhile.
async fn copy_at_one_moment(places: &Places<'_>, tools: &PostgresTools, folder: &Path) -> Result<Option<Copied>> {
    let mut moment = pool::moment(places.pool).await?;
    let dump = folder.join(DUMP);
    drop(private_files::create(&dump)?); // pg_dump would make it for everybody to read
    tools.dump(places.database_url, &moment.snapshot, &dump).await?;
    let named = files::named_blobs(&mut moment.transaction).await?;
    moment.transaction.rollback().await?;
    let at = moment.at;
    let mut entries = vec![hash_of(folder, DUMP).await?];
    let copies = copy_blobs(&named, folder, async |path| places.blobs.stream_as_it_lies(path).await).await?;
    Ok(copies.map(|copies| {
        entries.extend(copies);
        Copied { at, entries }
    }))
}

/// Makes a host of a backup: an empty database, a place without blobs, and no keys. Everything is checked before anything is written.
pub async fn restore(places: &Places<'_>, folder: &Path) -> Result<Manifest> {
    let manifest = Manifest::read(folder)?;
    if let Some(project) = &manifest.project {
        let reason = format!("{} is an export of project '{project}': only a backup is restored", folder.display());
        return Err(StoreError::broken(reason));
    }
    check_whole(folder, &manifest).await?;
    check_empty(places).await?;
    for entry in &manifest.entries {
        if let Some(path) = entry.name.strip_prefix("blobs/") {
            copy_in(places.blobs, path, &folder.join(&entry.name), entry).await?;
        }
    }
    PostgresTools::find(places.pool).await?.restore(places.database_url, &folder.join(DUMP)).await?;
    private_files::make_folder(places.keys)?;
    for entry in &manifest.entries {
        if let Some(name) = entry.name.strip_prefix("keys/") {
            private_files::write(&places.keys.join(name), &std::fs::read(folder.join(&entry.name))?)?;
        }
    }
    Ok(manifest)
}

async fn check_whole(folder: &Path, manifest: &Manifest) -> Result<()> {
    for entry in &manifest.entries {
        let found = hash_of(folder, &entry.name).await.map_err(|error| match error {
            StoreError::Missing => StoreError::broken(format!("the backup lacks {}", entry.name)),
            other => other,
        })?;
        if found != *entry {
            return Err(StoreError::Damaged(format!("{} of the backup", entry.name)));
        }
    }
    Ok(())
}

async fn check_empty(places: &Places<'_>) -> Result<()> {
    let refuse = |what: String| Err(StoreError::broken(format!("{what}: a backup is restored into a new host")));
    if pool::has_tables(places.pool).await? {
        return refuse("the database is not empty".to_owned());
    }
    for kind in BlobKind::ALL {
        if !places.blobs.list(kind).await?.is_empty() {
            return refuse(format!("there are {} in the blob store", kind.as_str()));
        }
    }
    if places.keys.exists() && !names_in(places.keys)?.is_empty() {
        return refuse(format!("{} holds keys", places.keys.display()));
    }
    Ok(())
}

async fn copy_in(blobs: &Blobs, path: &str, source: &Path, entry: &Entry) -> Result<()> {
    let mut writer = blobs.writer_as_it_lies(path.to_owned()).await?;
    let mut file = tokio::fs::File::open(source).await?;
    loop {
        let mut piece = bytes::BytesMut::with_capacity(PIECE);
        if file.read_buf(&mut piece).await? == 0 {
            break;
        }
        writer.write(piece.freeze()).await?;
    }
    let written = writer.finish().await?;
    if (written.bytes, &written.sha256) != (entry.bytes, &entry.sha256) {
        return Err(StoreError::Damaged(format!("{} of the backup", entry.name)));
    }
    Ok(())
}

fn names_in(folder: &Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            names.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    names.sort();
    Ok(names)
}
