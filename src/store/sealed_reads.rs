//! Reading encrypted blobs. Owns which chunks a read needs, and the name by which a blob says that it is encrypted and with which key;
//! must never hold more of a blob than was asked for.
//!
//! The name says it, and not the first bytes: names are the host's own and stand in its rows, while a client may send any bytes, and
//! whoever can write into the folder could put a plain blob in an encrypted one's place.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use object_store::GetOptions;
use object_store::GetRange;
use object_store::ObjectStore;
use object_store::path::Path as BlobPath;

use crate::store::blob_keys::BlobKeys;
use crate::store::error::Result;
use crate::store::error::StoreError;
use crate::store::sealing::CHUNK;
use crate::store::sealing::HEADER_BYTES;
use crate::store::sealing::Opener;

/// Ending of an encrypted blob's name, behind the name of its key.
const SEALED: &str = ".enc";
/// Ranges that are read at once.
const RANGES: usize = 256;

/// The name of a blob that this key encrypts.
pub fn sealed_name(plain: &str, key: &str) -> String {
    format!("{plain}.{key}{SEALED}")
}

/// The name of the key that a blob is encrypted with; `None` for a plain one.
pub fn key_of(path: &str) -> Option<&str> {
    path.strip_suffix(SEALED)?.rsplit_once('.').map(|(_, key)| key)
}

/// An encrypted blob.
pub struct SealedBlob {
    store: Arc<dyn ObjectStore>,
    path: BlobPath,
    opener: Opener,
}

impl SealedBlob {
    /// Opens the blob of this name; where its key is not among the host's, that is told, and not taken for damage.
    pub async fn open(store: &Arc<dyn ObjectStore>, keys: &BlobKeys, path: &str) -> Result<Self> {
        let key = key_of(path).unwrap_or_default();
        let locked = || StoreError::Locked { path: path.to_owned(), key: key.to_owned() };
        let key = keys.find(key).ok_or_else(locked)?;
        let at = BlobPath::parse(path).map_err(StoreError::broken)?;
        let found = store.get_opts(&at, bounded(0..HEADER_BYTES)).await;
        let found = match found {
            // A file of no bytes has no such range.
            Err(error @ object_store::Error::NotFound { .. }) => return Err(error.into()),
            Err(error) if store.head(&at).await.is_ok_and(|meta| meta.size == 0) => {
                tracing::debug!(path, %error, "the blob {path} has no bytes");
                return Err(StoreError::Damaged(path.to_owned()));
            }
            found => found?,
        };
        let stored = found.meta.size;
        let header = found.bytes().await?;
        Ok(Self { store: Arc::clone(store), path: at, opener: Opener::new(key, path, &header, stored)? })
    }

    /// All bytes of what was written.
    pub fn whole(&self) -> Range<u64> {
        0..self.opener.plain_bytes()
    }

    /// Some of them, as far as there are any.
    pub fn up_to_its_end(&self, range: Range<u64>) -> Range<u64> {
        range.start..range.end.min(self.opener.plain_bytes())
    }

    /// These bytes, piece by piece.
    pub async fn stream(self, plain: Range<u64>) -> Result<BoxStream<'static, Result<Bytes>>> {
        let chunks = self.opener.chunks_of(&plain)?;
        if chunks.is_empty() {
            return Ok(futures::stream::empty().boxed());
        }
        let stored = self.opener.stored_range(&chunks);
        let found = self.store.get_opts(&self.path, bounded(stored)).await?;
        let reader =
            ChunkReader { opener: self.opener, sealed: found.into_stream(), ahead: Bytes::new(), chunks, plain };
        Ok(futures::stream::try_unfold(reader, ChunkReader::next).boxed())
    }

    /// Several pieces, in the order asked for.
    pub async fn ranges(&self, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        let mut pieces = Vec::with_capacity(ranges.len());
        for some in ranges.chunks(RANGES) {
            let chunks = some.iter().map(|plain| self.opener.chunks_of(plain)).collect::<Result<Vec<_>>>()?;
            let is_some = |chunks: &&Range<u64>| !chunks.is_empty();
            let stored: Vec<_> = chunks.iter().filter(is_some).map(|some| self.opener.stored_range(some)).collect();
            let mut sealed = self.store.get_ranges(&self.path, &stored).await?.into_iter();
            for (plain, chunks) in some.iter().zip(chunks) {
                let sealed = if chunks.is_empty() { None } else { sealed.next() };
                pieces.push(self.piece(plain, chunks, sealed.unwrap_or_default())?);
            }
        }
        Ok(pieces)
    }

    fn piece(&self, plain: &Range<u64>, chunks: Range<u64>, mut sealed: Bytes) -> Result<Bytes> {
        let mut piece = Vec::with_capacity((plain.end - plain.start) as usize);
        for number in chunks {
            let place = self.opener.stored_range(&(number..number + 1));
            let length = (place.end - place.start) as usize;
            if sealed.len() < length {
                return Err(self.opener.damaged());
            }
            let mut chunk = sealed.split_to(length).to_vec();
            self.opener.open(number, &mut chunk)?;
            piece.extend_from_slice(&chunk[within(plain, number)]);
        }
        Ok(piece.into())
    }
}

fn bounded(range: Range<u64>) -> GetOptions {
    GetOptions { range: Some(GetRange::Bounded(range)), ..GetOptions::default() }
}

/// Where in a chunk the bytes asked for lie.
fn within(plain: &Range<u64>, number: u64) -> Range<usize> {
    let begin = number * CHUNK;
    let at = |place: u64| place.saturating_sub(begin).min(CHUNK) as usize;
    at(plain.start)..at(plain.end)
}

/// Chunks that follow one another.
struct ChunkReader {
    opener: Opener,
    sealed: BoxStream<'static, object_store::Result<Bytes>>,
    /// What was read and not used yet.
    ahead: Bytes,
    chunks: Range<u64>,
    plain: Range<u64>,
}

impl ChunkReader {
    async fn next(mut self) -> Result<Option<(Bytes, Self)>> {
        let Some(number) = self.chunks.next() else { return Ok(None) };
        let place = self.opener.stored_range(&(number..number + 1));
        let length = (place.end - place.start) as usize;
        let mut chunk = Vec::with_capacity(length);
        while chunk.len() < length {
            if self.ahead.is_empty() {
                self.ahead = self.sealed.next().await.ok_or_else(|| self.opener.damaged())??;
            }
            let some = self.ahead.split_to(self.ahead.len().min(length - chunk.len()));
            chunk.extend_from_slice(&some);
        }
        self.opener.open(number, &mut chunk)?;
        let wanted = within(&self.plain, number);
        Ok(Some((Bytes::from(chunk).slice(wanted), self)))
    }
}
