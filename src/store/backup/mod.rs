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

mod manifest;
mod postgres_tools;

use std::path::Path;

use futures::StreamExt;
use sha2::Digest;
use sha2::Sha256;
use time::OffsetDateTime;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;

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

const DUMP: &str = "database.dump";
const BLOBS: &str = "blobs";
const KEYS: &str = "keys";
/// A busy host deletes blobs now and then; it does not do so all the time.
const TRIES: usize = 5;
/// Bytes read at once.
const PIECE: usize = 1 << 20;

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
    private_files::make_folder(folder)?;
    if std::fs::read_dir(folder)?.next().is_some() {
        return Err(StoreError::broken(format!(
            "{} is not empty: a backup gets a folder of its own",
            folder.display()
        )));
    }
    let tools = PostgresTools::find(places.pool).await?;
    let mut copied = None;
    for _ in 0..TRIES {
        copied = copy_at_one_moment(places, &tools, folder).await?;
        if copied.is_some() {
            break;
        }
    }
    let changed = || StoreError::unavailable("blobs were deleted while they were copied, again and again: try later");
    let Copied { at, mut entries } = copied.ok_or_else(changed)?;
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
    for path in named {
        let name = format!("{BLOBS}/{path}");
        let target = folder.join(&name);
        if !target.exists() && !copy_out(places.blobs, &path, &target).await? {
            return Ok(None);
        }
        entries.push(hash_of(folder, &name).await?);
    }
    Ok(Some(Copied { at, entries }))
}

/// Copies a blob into a file; whether it was there.
async fn copy_out(blobs: &Blobs, path: &str, target: &Path) -> Result<bool> {
    let mut pieces = match blobs.stream_as_it_lies(path).await {
        Err(StoreError::Missing) => return Ok(false),
        pieces => pieces?,
    };
    if let Some(parent) = target.parent() {
        private_files::make_folder(parent)?;
    }
    let staged = target.with_extension("part");
    let mut file = tokio::fs::File::from_std(private_files::create(&staged)?);
    while let Some(piece) = pieces.next().await {
        file.write_all(&piece?).await?;
    }
    file.sync_all().await?;
    tokio::fs::rename(&staged, target).await?;
    Ok(true)
}

/// Makes a host of a backup: an empty database, a place without blobs, and no keys. Everything is checked before anything is written.
pub async fn restore(places: &Places<'_>, folder: &Path) -> Result<Manifest> {
    let manifest = Manifest::read(folder)?;
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

/// Bytes and hash of a file of the backup.
async fn hash_of(folder: &Path, name: &str) -> Result<Entry> {
    let mut file = tokio::fs::File::open(folder.join(name)).await?;
    let (mut hash, mut bytes) = (Sha256::new(), 0);
    let mut piece = vec![0; PIECE];
    loop {
        let read = file.read(&mut piece).await?;
        if read == 0 {
            break;
        }
        hash.update(&piece[..read]);
        bytes += read as u64;
    }
    Ok(Entry { name: name.to_owned(), bytes, sha256: hex::encode(hash.finalize()) })
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
