//! What every copy is made with: a folder of its own, blobs that may be deleted meanwhile, and the hash of what was written. Must never
//! know what a copy is for.

use std::path::Path;

use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use sha2::Digest;
use sha2::Sha256;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;

use crate::store::backup::manifest::Entry;
use crate::store::error::Result;
use crate::store::error::StoreError;
use crate::store::private_files;

/// Where blobs lie in a copy, under the names that rows give them.
const BLOBS: &str = "blobs";
/// A busy host deletes blobs now and then; it does not do so all the time.
pub const TRIES: usize = 5;
/// Bytes read at once.
pub const PIECE: usize = 1 << 20;

/// Makes a folder for what is written, and for nothing else.
pub fn make_empty(folder: &Path) -> Result<()> {
    private_files::make_folder(folder)?;
    match std::fs::read_dir(folder)?.next() {
        None => Ok(()),
        Some(_) => {
            Err(StoreError::broken(format!("{} is not empty: a copy gets a folder of its own", folder.display())))
        }
    }
}

/// Every try met a blob that was gone.
pub fn deleted_meanwhile() -> StoreError {
    StoreError::unavailable("blobs were deleted while they were copied, again and again: try later")
}

/// Copies these blobs, as `read` gives them, and hashes the copies; `None` where one was deleted meanwhile.
pub async fn copy_blobs(
    named: &[String],
    folder: &Path,
    read: impl AsyncFn(&str) -> Result<BoxStream<'static, Result<Bytes>>>,
) -> Result<Option<Vec<Entry>>> {
    let mut entries = Vec::with_capacity(named.len());
    for path in named {
        let name = format!("{BLOBS}/{path}");
        let target = folder.join(&name);
        if !target.exists() && !copy_out(read(path).await, &target).await? {
            return Ok(None);
        }
        entries.push(hash_of(folder, &name).await?);
    }
    Ok(Some(entries))
}

/// Copies a blob that was `found` into a file; whether it was there.
async fn copy_out(found: Result<BoxStream<'static, Result<Bytes>>>, target: &Path) -> Result<bool> {
    let mut pieces = match found {
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

/// Bytes and hash of a file of the backup.
pub async fn hash_of(folder: &Path, name: &str) -> Result<Entry> {
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
