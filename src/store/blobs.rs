//! Bytes that are too large for rows: files, checkpoints, adapters. Owns their names and that a blob is either whole and
//! durable or not there; must never know what the bytes mean.
//!
//! With keys, new blobs are encrypted on their way (`sealing`), and `BlobRef` says of them what it says of plain ones; a backup alone
//! handles the bytes as they lie there.
//!
//! object_store's local files are renamed into place but never synced, so that a power cut could leave an empty file under
//! a good name. Writing to a local folder is therefore done here: temporary file, fsync, rename, fsync of the folder.

use std::ops::Range;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use std::time::SystemTime;

use bytes::Bytes;
use futures::StreamExt;
use futures::TryStreamExt;
use futures::stream::BoxStream;
use object_store::GetOptions;
use object_store::GetRange;
use object_store::ObjectMeta;
use object_store::ObjectStore;
use object_store::PutPayload;
use object_store::WriteMultipart;
use object_store::aws::AmazonS3Builder;
use object_store::local::LocalFileSystem;
use object_store::path::Path as BlobPath;
use object_store::prefix::PrefixStore;
use serde::Deserialize;
use serde::Serialize;
use sha2::Digest;
use sha2::Sha256;
use time::OffsetDateTime;
use tokio::io::AsyncWriteExt;
use url::Url;
use uuid::Uuid;

use crate::failpoint;
use crate::store::blob_keys::BlobKeys;
use crate::store::error::Result;
use crate::store::error::StoreError;
use crate::store::sealed_reads::SealedBlob;
use crate::store::sealed_reads::key_of;
use crate::store::sealed_reads::sealed_name;
use crate::store::sealing::Sealer;

/// Uploads to a bucket that are in flight at once.
const PARTS_IN_FLIGHT: usize = 4;
/// Bytes that are encrypted at once, before others have their turn.
const SEALED_AT_ONCE: usize = 1 << 20;

/// What a blob is for; each kind has a folder of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BlobKind {
    /// Uploaded files and their indexes.
    Files,
    /// Saved states of jobs.
    Checkpoints,
    /// Adapters of fine-tuned models.
    Adapters,
    /// Parts of uploads that are not whole yet.
    Parts,
    /// What feature jobs compute.
    Features,
    /// Answers to batches.
    Batches,
}

impl BlobKind {
    /// Every kind.
    pub const ALL: [Self; 6] =
        [Self::Files, Self::Checkpoints, Self::Adapters, Self::Parts, Self::Features, Self::Batches];

    /// The folder.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Files => "files",
            Self::Checkpoints => "checkpoints",
            Self::Adapters => "adapters",
            Self::Parts => "parts",
            Self::Features => "features",
            Self::Batches => "batches",
        }
    }
}

/// A blob that is durable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlobRef {
    /// Its name, `checkpoints/5f3c...` for example.
    pub path: String,
    /// Hash of its bytes, in hexadecimal; of those that were written, also where they lie there encrypted.
    pub sha256: String,
    pub bytes: u64,
}

/// A place for blobs; cheap to clone.
#[derive(Debug, Clone)]
pub struct Blobs {
    store: Arc<dyn ObjectStore>,
    /// Set when the place is a local folder.
    folder: Option<PathBuf>,
    keys: BlobKeys,
}

impl Blobs {
    /// Opens `s3://bucket/prefix` (keys and region from the usual `AWS_` environment), `file:///folder` or a folder, which
    /// is made when it is not there.
    pub async fn open(place: &str) -> Result<Self> {
        match Url::parse(place) {
            Ok(url) if url.scheme() == "s3" => Self::open_bucket(&url),
            Ok(url) if url.scheme() == "file" => {
                Self::open_folder(&url.to_file_path().map_err(|()| unknown_place(place))?).await
            }
            _ if place.contains("://") => Err(unknown_place(place)),
            _ => Self::open_folder(Path::new(place)).await,
        }
    }

    fn open_bucket(url: &Url) -> Result<Self> {
        let bucket = AmazonS3Builder::from_env().with_url(url.as_str()).build()?;
        let prefix = BlobPath::from_url_path(url.path()).map_err(StoreError::broken)?;
        Ok(Self { store: Arc::new(PrefixStore::new(bucket, prefix)), folder: None, keys: BlobKeys::default() })
    }

    async fn open_folder(folder: &Path) -> Result<Self> {
        for kind in BlobKind::ALL {
            tokio::fs::create_dir_all(folder.join(kind.as_str())).await?;
        }
        let folder = tokio::fs::canonicalize(folder).await?;
        let store = LocalFileSystem::new_with_prefix(&folder)?;
        Ok(Self { store: Arc::new(store), folder: Some(folder), keys: BlobKeys::default() })
    }

    /// The same place with keys: new blobs are encrypted with the first, all of them read. Plain ones stay readable.
    #[must_use]
    pub fn with_keys(self, keys: BlobKeys) -> Self {
        Self { keys, ..self }
    }

    /// [`StoreError::Locked`] where there is a blob that none of the keys opens.
    pub async fn check_keys(&self) -> Result<()> {
        for kind in BlobKind::ALL {
            let strange = |path: &String| key_of(path).is_some_and(|key| self.keys.find(key).is_none());
            if let Some(path) = self.list(kind).await?.into_iter().find(strange) {
                let key = key_of(&path).unwrap_or_default().to_owned();
                return Err(StoreError::Locked { path, key });
            }
        }
        Ok(())
    }

    /// Writes a blob that fits into memory. When this returns `Ok` the blob is whole and durable; a crash before that leaves
    /// nothing under its name. The name carries the hash, and is never used twice: deleting one blob cannot take another's. That of an
    /// encrypted blob is an id: a hash would tell who guesses the bytes that the guess is right.
    pub async fn put_atomic(&self, kind: BlobKind, mut bytes: Bytes) -> Result<BlobRef> {
        if self.keys.first().is_some() {
            let mut writer = self.writer(kind).await?;
            while !bytes.is_empty() {
                writer.write(bytes.split_to(bytes.len().min(SEALED_AT_ONCE))).await?;
            }
            return writer.finish().await;
        }
        let length = bytes.len() as u64;
        let hashed = bytes.clone();
        let sha256 = blocking(move || Ok(hex::encode(Sha256::digest(&hashed)))).await?;
        let path = format!("{}/{sha256}-{:08x}", kind.as_str(), Uuid::new_v4().as_fields().0);
        match &self.folder {
            Some(folder) => {
                let target = folder.join(&path);
                blocking(move || write_whole(&target, &bytes)).await?;
            }
            None => {
                self.store.put(&parse(&path)?, PutPayload::from_bytes(bytes)).await?;
            }
        }
        Ok(BlobRef { path, sha256, bytes: length })
    }

    /// Begins a blob that is written piece by piece. Its name is an id, since its hash is not known yet.
    pub async fn writer(&self, kind: BlobKind) -> Result<BlobWriter> {
        let plain = format!("{}/{}", kind.as_str(), Uuid::now_v7().simple());
        let Some(key) = self.keys.first() else { return self.writer_as_it_lies(plain).await };
        let path = sealed_name(&plain, key.id());
        let sealer = Sealer::new(key, &path)?;
        Ok(BlobWriter { sealer: Some(sealer), ..self.writer_as_it_lies(path).await? })
    }

    /// Begins a blob under the name that it had elsewhere, of the bytes that lay there: an encrypted one needs no key.
    pub async fn writer_as_it_lies(&self, path: String) -> Result<BlobWriter> {
        let sink = match &self.folder {
            Some(folder) => {
                let target = folder.join(&path);
                let staged = Staged(staged_path(&target));
                failpoint::write_at("blob_write")?;
                let file = tokio::fs::File::options().write(true).create_new(true).open(&staged.0).await?;
                Sink::Local { file, staged, target }
            }
            None => Sink::Bucket(WriteMultipart::new(self.store.put_multipart(&parse(&path)?).await?)),
        };
        Ok(BlobWriter { sink, sealer: None, path, hash: Sha256::new(), bytes: 0 })
    }

    /// The whole blob.
    pub async fn get(&self, path: &str) -> Result<Bytes> {
        if let Some(blob) = self.sealed(path).await? {
            let whole = blob.whole();
            let pieces: Vec<Bytes> = blob.stream(whole).await?.try_collect().await?;
            return Ok(pieces.concat().into());
        }
        Ok(self.store.get(&parse(path)?).await?.bytes().await?)
    }

    /// The whole blob, if its bytes are the ones that were written; else [`StoreError::Damaged`].
    pub async fn get_verified(&self, blob: &BlobRef) -> Result<Bytes> {
        let bytes = self.get(&blob.path).await?;
        let hashed = bytes.clone();
        let found = blocking(move || Ok(hex::encode(Sha256::digest(&hashed)))).await?;
        if bytes.len() as u64 != blob.bytes || found != blob.sha256 {
            return Err(StoreError::Damaged(blob.path.clone()));
        }
        Ok(bytes)
    }

    /// Some bytes of a blob.
    pub async fn get_range(&self, path: &str, range: Range<u64>) -> Result<Bytes> {
        if let Some(blob) = self.sealed(path).await? {
            return Ok(blob.ranges(&[range]).await?.concat().into());
        }
        Ok(self.store.get_range(&parse(path)?, range).await?)
    }

    /// Several pieces of a blob, in the order asked for.
    pub async fn get_ranges(&self, path: &str, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        if let Some(blob) = self.sealed(path).await? {
            return blob.ranges(ranges).await;
        }
        Ok(self.store.get_ranges(&parse(path)?, ranges).await?)
    }

    /// The blob, piece by piece.
    pub async fn stream(&self, path: &str) -> Result<BoxStream<'static, Result<Bytes>>> {
        if let Some(blob) = self.sealed(path).await? {
            let whole = blob.whole();
            return blob.stream(whole).await;
        }
        self.stream_as_it_lies(path).await
    }

    /// The bytes that lie there, piece by piece; those of an encrypted blob need no key.
    pub async fn stream_as_it_lies(&self, path: &str) -> Result<BoxStream<'static, Result<Bytes>>> {
        let found = self.store.get(&parse(path)?).await?;
        Ok(found.into_stream().map_err(StoreError::from).boxed())
    }

    /// Some bytes of the blob, piece by piece.
    pub async fn stream_range(&self, path: &str, range: Range<u64>) -> Result<BoxStream<'static, Result<Bytes>>> {
        if let Some(blob) = self.sealed(path).await? {
            let range = blob.up_to_its_end(range);
            return blob.stream(range).await;
        }
        let options = GetOptions { range: Some(GetRange::Bounded(range)), ..GetOptions::default() };
        let found = self.store.get_opts(&parse(path)?, options).await?;
        Ok(found.into_stream().map_err(StoreError::from).boxed())
    }

    /// The blob, where it is encrypted.
    async fn sealed(&self, path: &str) -> Result<Option<SealedBlob>> {
        match key_of(path) {
            Some(_) => Ok(Some(SealedBlob::open(&self.store, &self.keys, path).await?)),
            None => Ok(None),
        }
    }

    /// Deletes a blob; one that is not there is no error, so that a deletion can be repeated.
    pub async fn delete(&self, path: &str) -> Result<()> {
        match self.store.delete(&parse(path)?).await.map_err(StoreError::from) {
            Err(StoreError::Missing) => Ok(()),
            done => done,
        }
    }

    /// Deletes blobs that no row names any more; what a crash leaves of them, the sweep finds.
    pub async fn delete_all(&self, paths: &[String]) -> Result<()> {
        for path in paths {
            self.delete(path).await?;
        }
        Ok(())
    }

    /// Names of the kind's blobs.
    pub async fn list(&self, kind: BlobKind) -> Result<Vec<String>> {
        Ok(names(self.found(kind).await?))
    }

    /// Names of the kind's blobs that were written longer than `age` ago: what a sweep compares with the rows.
    pub async fn older_than(&self, kind: BlobKind, age: Duration) -> Result<Vec<String>> {
        let limit = OffsetDateTime::now_utc() - age;
        let mut found = self.found(kind).await?;
        found.retain(|blob| blob.last_modified.timestamp() < limit.unix_timestamp());
        Ok(names(found))
    }

    async fn found(&self, kind: BlobKind) -> Result<Vec<ObjectMeta>> {
        Ok(self.store.list(Some(&BlobPath::from(kind.as_str()))).try_collect().await?)
    }

    /// Removes what a crash left half written longer than `age` ago, and says how many there were.
    pub async fn remove_leftovers(&self, age: Duration) -> Result<usize> {
        let Some(folder) = self.folder.clone() else { return Ok(0) };
        blocking(move || {
            let mut removed = 0;
            for kind in BlobKind::ALL {
                for entry in std::fs::read_dir(folder.join(kind.as_str()))? {
                    removed += usize::from(remove_leftover(&entry?, age)?);
                }
            }
            Ok(removed)
        })
        .await
    }
}

/// Ending of a blob that is being written.
const STAGED: &str = ".tmp";

/// Of blobs that are whole.
fn names(found: Vec<ObjectMeta>) -> Vec<String> {
    found.into_iter().map(|blob| blob.location.to_string()).filter(|path| !path.ends_with(STAGED)).collect()
}

fn unknown_place(place: &str) -> StoreError {
    StoreError::broken(format!("'{place}' is not a blob store: give a folder or s3://bucket/prefix"))
}

fn parse(path: &str) -> Result<BlobPath> {
    BlobPath::parse(path).map_err(StoreError::broken)
}

/// The name of a blob while it is written: in the same folder, so that renaming it is atomic.
fn staged_path(target: &Path) -> PathBuf {
    let mut name = target.as_os_str().to_owned();
    name.push(STAGED);
    name.into()
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> std::io::Result<T> + Send + 'static) -> Result<T> {
    Ok(tokio::task::spawn_blocking(work).await.map_err(StoreError::broken)??)
}

fn write_whole(target: &Path, bytes: &[u8]) -> std::io::Result<()> {
    failpoint::write_at("blob_write")?;
    let staged = Staged(staged_path(target));
    let mut file = std::fs::File::options().write(true).create_new(true).open(&staged.0)?;
    std::io::Write::write_all(&mut file, bytes)?;
    file.sync_all()?;
    publish(&staged, target)
}

/// Gives a synced file its name, and makes the name durable.
fn publish(staged: &Staged, target: &Path) -> std::io::Result<()> {
    std::fs::rename(&staged.0, target)?;
    let folder = target.parent().unwrap_or(Path::new("."));
    std::fs::File::open(folder)?.sync_all()
}

fn remove_leftover(entry: &std::fs::DirEntry, age: Duration) -> std::io::Result<bool> {
    let is_staged = entry.file_name().to_string_lossy().ends_with(STAGED);
    let old = || SystemTime::now().duration_since(entry.metadata()?.modified()?).map_err(std::io::Error::other);
    if !is_staged || old().is_ok_and(|old| old < age) {
        return Ok(false);
    }
    std::fs::remove_file(entry.path())?;
    Ok(true)
}

/// A file that is removed when it was not given its name.
#[derive(Debug)]
struct Staged(PathBuf);

impl Drop for Staged {
    fn drop(&mut self) {
        // After a rename there is nothing left to remove.
        let _ = std::fs::remove_file(&self.0);
    }
}

#[derive(Debug)]
enum Sink {
    Local { file: tokio::fs::File, staged: Staged, target: PathBuf },
    Bucket(WriteMultipart),
}

impl Sink {
    async fn write(&mut self, bytes: Bytes) -> Result<()> {
        match self {
            Self::Local { file, .. } => file.write_all(&bytes).await?,
            Self::Bucket(upload) => {
                upload.wait_for_capacity(PARTS_IN_FLIGHT).await?;
                upload.put(bytes);
            }
        }
        Ok(())
    }
}

/// A blob being written. Dropped without [`BlobWriter::finish`], it leaves nothing behind.
#[derive(Debug)]
pub struct BlobWriter {
    sink: Sink,
    /// Set when the blob is encrypted on its way into the sink.
    sealer: Option<Sealer>,
    path: String,
    hash: Sha256,
    bytes: u64,
}

impl BlobWriter {
    /// Bytes written up to now.
    pub fn len(&self) -> u64 {
        self.bytes
    }

    /// Whether nothing was written up to now.
    pub fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    /// Appends bytes.
    pub async fn write(&mut self, bytes: Bytes) -> Result<()> {
        self.hash.update(&bytes);
        self.bytes += bytes.len() as u64;
        match &mut self.sealer {
            Some(sealer) => {
                let sealed = sealer.push(&bytes)?;
                self.sink.write(sealed.into()).await
            }
            None => self.sink.write(bytes).await,
        }
    }

    /// Makes the blob durable and gives it its name.
    pub async fn finish(mut self) -> Result<BlobRef> {
        if let Some(sealer) = self.sealer.take() {
            self.sink.write(sealer.finish()?.into()).await?;
        }
        match self.sink {
            Sink::Local { mut file, staged, target } => {
                file.flush().await?;
                file.sync_all().await?;
                blocking(move || publish(&staged, &target)).await?;
            }
            Sink::Bucket(upload) => {
                upload.finish().await?;
            }
        }
        Ok(BlobRef { path: self.path, sha256: hex::encode(self.hash.finalize()), bytes: self.bytes })
    }

    /// Gives the blob up.
    pub async fn abort(self) -> Result<()> {
        match self.sink {
            Sink::Local { .. } => Ok(()),
            Sink::Bucket(upload) => Ok(upload.abort().await?),
        }
    }
}
