//! How an encrypted blob is written down. Owns the format, and that a byte that was changed, left out, moved or added is noticed where it
//! is read; must never read or write a file.
//!
//! ```text
//! 8 bytes    btblob, 0, version 1
//! 32 bytes   salt of this blob
//! chunks     AES-256-GCM of 16 KiB each, the last of what is left, each with its tag of 16 bytes
//! ```
//!
//! A blob's own key is HKDF-SHA256 of the host's key, the salt and the blob's name, so that blobs cannot change places. A chunk's
//! nonce is its number and whether it is the last (the STREAM construction of Hoang, Reyhanitabar, Rogaway and Vizár, as in Tink's
//! AES-GCM-HKDF): chunks cannot change places, and an end that is missing is noticed. Any range is read without what lies before it.

use std::ops::Range;

use rand::TryRngCore;
use rand::rngs::OsRng;
use ring::aead::AES_256_GCM;
use ring::aead::Aad;
use ring::aead::LessSafeKey;
use ring::aead::NONCE_LEN;
use ring::aead::Nonce;
use ring::aead::UnboundKey;
use ring::hkdf::HKDF_SHA256;
use ring::hkdf::Salt;

use crate::store::blob_keys::BlobKey;
use crate::store::error::Result;
use crate::store::error::StoreError;

/// Bytes before the first chunk.
pub const HEADER_BYTES: u64 = 40;
/// Bytes of what is written in a chunk.
pub const CHUNK: u64 = 16 * 1024;
const MAGIC: [u8; 8] = *b"btblob\0\x01";
const TAG: u64 = 16;
const SEALED_CHUNK: u64 = CHUNK + TAG;
const CONTEXT: &[u8] = b"blindtune blob, version 1: ";

/// The key of one blob.
#[derive(Debug)]
struct OwnKey(LessSafeKey);

impl OwnKey {
    fn new(key: &BlobKey, salt: &[u8], path: &str) -> Result<Self> {
        let own = Salt::new(HKDF_SHA256, salt).extract(key.expose());
        let own = own.expand(&[CONTEXT, path.as_bytes()], &AES_256_GCM).map(UnboundKey::from);
        Ok(Self(LessSafeKey::new(own.map_err(|_| StoreError::broken("a blob has no key"))?)))
    }

    fn nonce(number: u64, is_last: bool) -> Nonce {
        let mut nonce = [0; NONCE_LEN];
        nonce[..8].copy_from_slice(&number.to_be_bytes());
        nonce[NONCE_LEN - 1] = u8::from(is_last);
        Nonce::assume_unique_for_key(nonce)
    }
}

/// Encrypts a blob, piece by piece.
#[derive(Debug)]
pub struct Sealer {
    key: OwnKey,
    next: u64,
    /// At most a chunk, which may turn out to be the last.
    pending: Vec<u8>,
    /// Bytes to be written.
    ready: Vec<u8>,
}

impl Sealer {
    /// Begins the blob of this name.
    pub fn new(key: &BlobKey, path: &str) -> Result<Self> {
        let mut ready = vec![0; HEADER_BYTES as usize];
        let (magic, salt) = ready.split_at_mut(MAGIC.len());
        magic.copy_from_slice(&MAGIC);
        OsRng.try_fill_bytes(salt).map_err(StoreError::broken)?;
        let key = OwnKey::new(key, salt, path)?;
        Ok(Self { key, next: 0, pending: Vec::new(), ready })
    }

    /// Takes bytes, and gives those to be written.
    pub fn push(&mut self, mut bytes: &[u8]) -> Result<Vec<u8>> {
        while !bytes.is_empty() {
            if self.pending.len() as u64 == CHUNK {
                self.seal(false)?;
            }
            let room = (CHUNK as usize - self.pending.len()).min(bytes.len());
            self.pending.extend_from_slice(&bytes[..room]);
            bytes = &bytes[room..];
        }
        Ok(std::mem::take(&mut self.ready))
    }

    /// The end of the blob.
    pub fn finish(mut self) -> Result<Vec<u8>> {
        self.seal(true)?;
        Ok(self.ready)
    }

    fn seal(&mut self, is_last: bool) -> Result<()> {
        let nonce = OwnKey::nonce(self.next, is_last);
        let tag = self.key.0.seal_in_place_separate_tag(nonce, Aad::empty(), &mut self.pending);
        let tag = tag.map_err(|_| StoreError::broken("a chunk of a blob cannot be encrypted"))?;
        self.ready.append(&mut self.pending);
        self.ready.extend_from_slice(tag.as_ref());
        self.next += 1;
        Ok(())
    }
}

/// Decrypts chunks of a blob, in any order.
#[derive(Debug)]
pub struct Opener {
    key: OwnKey,
    path: String,
    stored: u64,
    chunks: u64,
}

impl Opener {
    /// For a blob with this header, of so many bytes as it lies there.
    pub fn new(key: &BlobKey, path: &str, header: &[u8], stored: u64) -> Result<Self> {
        let damaged = || StoreError::Damaged(path.to_owned());
        let salt = header.strip_prefix(&MAGIC).filter(|salt| (salt.len() + MAGIC.len()) as u64 == HEADER_BYTES);
        let key = OwnKey::new(key, salt.ok_or_else(damaged)?, path)?;
        let body = stored.saturating_sub(HEADER_BYTES);
        let last = body % SEALED_CHUNK;
        if body < TAG || (1..TAG).contains(&last) {
            return Err(damaged());
        }
        Ok(Self { key, path: path.to_owned(), stored, chunks: body.div_ceil(SEALED_CHUNK) })
    }

    /// Bytes of what was written.
    pub fn plain_bytes(&self) -> u64 {
        self.stored - HEADER_BYTES - self.chunks * TAG
    }

    /// The chunks with these bytes of what was written; damaged, where there are no such bytes.
    pub fn chunks_of(&self, plain: &Range<u64>) -> Result<Range<u64>> {
        if plain.start > plain.end || plain.end > self.plain_bytes() {
            return Err(self.damaged());
        }
        // No bytes are in no chunk, but for those of an empty blob: its one chunk says that it is meant to be empty.
        let first = plain.start / CHUNK;
        Ok(first..plain.end.div_ceil(CHUNK).max(if self.plain_bytes() == 0 { 1 } else { first }))
    }

    /// Where these chunks lie.
    pub fn stored_range(&self, chunks: &Range<u64>) -> Range<u64> {
        let at = |chunk: u64| (HEADER_BYTES + chunk * SEALED_CHUNK).min(self.stored);
        at(chunks.start)..at(chunks.end)
    }

    /// Decrypts a chunk where it lies.
    pub fn open(&self, number: u64, sealed: &mut Vec<u8>) -> Result<()> {
        let nonce = OwnKey::nonce(number, number + 1 == self.chunks);
        let opened = self.key.0.open_in_place(nonce, Aad::empty(), sealed).map(|plain| plain.len());
        sealed.truncate(opened.map_err(|_| self.damaged())?);
        Ok(())
    }

    /// What is wrong where bytes are not those that were written.
    pub fn damaged(&self) -> StoreError {
        StoreError::Damaged(self.path.clone())
    }
}
