//! Encrypted blobs in a local folder.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::path::PathBuf;
use std::time::Instant;

use blindtune::store::StoreError;
use blindtune::store::blob_keys;
use blindtune::store::blob_keys::BlobKeys;
use blindtune::store::blobs::BlobKind;
use blindtune::store::blobs::Blobs;
use bytes::Bytes;
use futures::TryStreamExt;
use sha2::Digest;
use sha2::Sha256;
use tempfile::TempDir;

use crate::TestResult;

/// Of what is written in a chunk, and as it lies there.
const CHUNK: usize = 16 * 1024;
const SEALED_CHUNK: usize = CHUNK + 16;
const HEADER: usize = 40;

struct Place {
    folder: TempDir,
}

impl Place {
    fn new() -> TestResult<Self> {
        Ok(Self { folder: tempfile::tempdir()? })
    }

    fn key(&self, name: &str) -> TestResult<String> {
        let path = self.folder.path().join(name);
        if !path.exists() {
            blob_keys::create(&path)?;
        }
        Ok(path.to_string_lossy().into_owned())
    }

    /// The place under these keys.
    async fn blobs(&self, keys: &[&str]) -> TestResult<Blobs> {
        let keys = keys.iter().map(|name| self.key(name)).collect::<TestResult<Vec<_>>>()?;
        let place = self.folder.path().join("blobs");
        let keys = BlobKeys::read(&keys, std::slice::from_ref(&place))?;
        Ok(Blobs::open(place.to_str().ok_or("a text")?).await?.with_keys(keys))
    }

    fn at(&self, path: &str) -> PathBuf {
        self.folder.path().join("blobs").join(path)
    }
}

fn content(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at * 31 % 251) as u8).collect()
}

fn contains(file: &Path, needle: &[u8]) -> bool {
    let bytes = std::fs::read(file).expect("readable");
    bytes.windows(needle.len()).any(|window| window == needle)
}

async fn streamed(blobs: &Blobs, path: &str) -> Result<Vec<u8>, StoreError> {
    let pieces: Vec<Bytes> = blobs.stream(path).await?.try_collect().await?;
    Ok(pieces.concat())
}

fn is_damaged<T>(found: &Result<T, StoreError>) -> bool {
    matches!(found, Err(StoreError::Damaged(_)))
}

#[tokio::test]
async fn an_encrypted_blob_reads_as_a_plain_one_whatever_its_length_and_the_range() -> TestResult {
    let place = Place::new()?;
    let blobs = place.blobs(&["a"]).await?;
    for length in [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 3 * CHUNK + 77] {
        let whole = content(length);
        let atomic = blobs.put_atomic(BlobKind::Checkpoints, whole.clone().into()).await?;
        let mut writer = blobs.writer(BlobKind::Files).await?;
        for piece in whole.chunks(CHUNK / 3 + 1) {
            writer.write(Bytes::copy_from_slice(piece)).await?;
        }
        for blob in [atomic, writer.finish().await?] {
            assert_eq!((blob.bytes, &blob.sha256), (length as u64, &hex::encode(Sha256::digest(&whole))));
            assert_eq!(blobs.get_verified(&blob).await?, whole, "{length}");
            assert_eq!(streamed(&blobs, &blob.path).await?, whole, "{length}");
            let cuts = [0, 1, CHUNK - 1, CHUNK, CHUNK + 5, 2 * CHUNK, length];
            let cuts = || cuts.iter().map(|cut| (*cut).min(length));
            for (begin, end) in cuts().flat_map(|begin| cuts().map(move |end| (begin, end))).filter(|(a, b)| a <= b) {
                let range = begin as u64..end as u64;
                assert_eq!(blobs.get_range(&blob.path, range.clone()).await?, whole[begin..end], "{length}: {range:?}");
                let pieces: Vec<Bytes> = blobs.stream_range(&blob.path, range.clone()).await?.try_collect().await?;
                assert_eq!(pieces.concat(), whole[begin..end], "{length}: {range:?}");
            }
            let rest = blobs.stream_range(&blob.path, 0..length as u64 + 9).await?;
            assert_eq!(rest.try_collect::<Vec<Bytes>>().await?.concat(), whole, "as far as there is any");
        }
    }
    let whole = content(5 * CHUNK);
    let blob = blobs.put_atomic(BlobKind::Files, whole.clone().into()).await?;
    let ranges: Vec<_> = (0..600u64).map(|at| (at * 7919) % 80_000..(at * 7919) % 80_000 + at % 9).collect();
    for (range, piece) in ranges.iter().zip(blobs.get_ranges(&blob.path, &ranges).await?) {
        assert_eq!(piece, whole[range.start as usize..range.end as usize], "{range:?}");
    }
    Ok(())
}

#[tokio::test]
async fn neither_bytes_nor_their_hash_are_on_the_disk() -> TestResult {
    let place = Place::new()?;
    let canary = b"canary-5f3c, which nobody else writes".as_slice();
    let (plain, sealed) = (place.blobs(&[]).await?, place.blobs(&["a"]).await?);
    let open = plain.put_atomic(BlobKind::Checkpoints, canary.into()).await?;
    assert!(contains(&place.at(&open.path), canary), "the test can see it");
    let one = sealed.put_atomic(BlobKind::Checkpoints, canary.into()).await?;
    let two = sealed.put_atomic(BlobKind::Checkpoints, canary.into()).await?;
    for blob in [&one, &two] {
        assert!(!contains(&place.at(&blob.path), &canary[..8]) && !blob.path.contains(&blob.sha256[..8]));
    }
    assert_ne!(std::fs::read(place.at(&one.path))?[HEADER..], std::fs::read(place.at(&two.path))?[HEADER..]);
    assert_eq!(sealed.get_verified(&open).await?, canary, "plain ones stay readable");
    Ok(())
}

#[tokio::test]
async fn a_flipped_bit_a_lost_end_and_chunks_in_other_places_are_damage() -> TestResult {
    let place = Place::new()?;
    let blobs = place.blobs(&["a"]).await?;
    let blob = blobs.put_atomic(BlobKind::Checkpoints, content(3 * CHUNK + 9).into()).await?;
    let file = place.at(&blob.path);
    let whole = std::fs::read(&file)?;
    let places = [0, 7, 8, HEADER - 1, HEADER, HEADER + SEALED_CHUNK - 1, HEADER + 2 * SEALED_CHUNK, whole.len() - 1];
    for place in places {
        let mut flipped = whole.clone();
        flipped[place] ^= 1;
        std::fs::write(&file, flipped)?;
        assert!(is_damaged(&streamed(&blobs, &blob.path).await), "flipped at {place}");
    }
    let chunk = |number: usize| HEADER + number * SEALED_CHUNK;
    for length in [0, 1, HEADER, HEADER + 15, chunk(1), chunk(2), chunk(2) + 7, chunk(3), whole.len() - 1] {
        std::fs::write(&file, &whole[..length])?;
        assert!(is_damaged(&streamed(&blobs, &blob.path).await), "cut at {length}");
        assert!(is_damaged(&blobs.get_verified(&blob).await), "cut at {length}");
    }
    let mut swapped = whole.clone();
    let (first, second) = swapped[chunk(0)..chunk(2)].split_at_mut(SEALED_CHUNK);
    first.swap_with_slice(second);
    std::fs::write(&file, &swapped)?;
    assert!(is_damaged(&blobs.get_range(&blob.path, 0..1).await), "another chunk in its place");
    std::fs::write(&file, [&whole[..chunk(1)], &whole[chunk(2)..]].concat())?;
    assert!(is_damaged(&streamed(&blobs, &blob.path).await), "one is left out");
    std::fs::write(&file, [&whole[..], &whole[chunk(3)..]].concat())?;
    assert!(is_damaged(&streamed(&blobs, &blob.path).await), "one is added");
    let other = blobs.put_atomic(BlobKind::Checkpoints, content(3 * CHUNK + 9).into()).await?;
    std::fs::copy(place.at(&other.path), &file)?;
    assert!(is_damaged(&streamed(&blobs, &blob.path).await), "another blob under its name");
    std::fs::write(&file, &whole)?;
    assert_eq!(streamed(&blobs, &blob.path).await?, content(3 * CHUNK + 9));
    Ok(())
}

#[tokio::test]
async fn a_key_that_is_missing_is_told_and_is_no_damage() -> TestResult {
    let place = Place::new()?;
    let old = place.blobs(&["a"]).await?.put_atomic(BlobKind::Adapters, content(9).into()).await?;
    for keys in [&["b"][..], &[]] {
        let blobs = place.blobs(keys).await?;
        for found in [blobs.get_verified(&old).await.map(|_| ()), blobs.check_keys().await] {
            let Err(StoreError::Locked { path, key }) = found else { panic!("{found:?} under {keys:?}") };
            assert!(path == old.path && path.contains(&key), "{path}, {key}");
        }
    }
    let rotated = place.blobs(&["b", "a"]).await?;
    rotated.check_keys().await?;
    assert_eq!(rotated.get_verified(&old).await?, content(9));
    let new = rotated.put_atomic(BlobKind::Adapters, content(9).into()).await?;
    rotated.delete(&old.path).await?;
    let only = place.blobs(&["b"]).await?;
    only.check_keys().await?;
    assert_eq!(only.get_verified(&new).await?, content(9), "what is new is under the first key");
    Ok(())
}

#[tokio::test]
async fn a_key_lies_apart_from_the_blobs_and_is_its_owners_alone() -> TestResult {
    let place = Place::new()?;
    place.blobs(&[]).await?;
    let inside = place.at("files/key");
    blob_keys::create(&inside)?;
    let refused = |reference: &Path| {
        let reference = reference.to_string_lossy().into_owned();
        BlobKeys::read(&[reference], &[place.at("")]).expect_err("is refused").to_string()
    };
    assert!(refused(&inside).contains("apart"), "{}", refused(&inside));
    let beside = PathBuf::from(place.key("a")?);
    std::fs::set_permissions(&beside, std::fs::Permissions::from_mode(0o644))?;
    assert!(refused(&beside).contains("chmod 600"), "{}", refused(&beside));
    Ok(())
}

/// With `--nocapture` it shows the rates: those of benches/README.md.
#[tokio::test]
async fn a_large_blob_is_written_and_read_back_with_a_key_and_without() -> TestResult {
    const BYTES: usize = 128 << 20;
    let place = Place::new()?;
    let whole = Bytes::from(content(BYTES));
    for keys in [&[][..], &["a"]] {
        let blobs = place.blobs(keys).await?;
        let rate = |began: Instant| BYTES as f64 / 1e6 / began.elapsed().as_secs_f64();
        let began = Instant::now();
        let mut writer = blobs.writer(BlobKind::Files).await?;
        for at in (0..BYTES).step_by(1 << 20) {
            writer.write(whole.slice(at..at + (1 << 20))).await?;
        }
        let blob = writer.finish().await?;
        let written = rate(began);
        let began = Instant::now();
        let read = streamed(&blobs, &blob.path).await?;
        println!("{} keys: write {written:.0} MB/s, read {:.0} MB/s", keys.len(), rate(began));
        assert!(read == whole, "{} keys", keys.len());
        let began = Instant::now();
        let ranges: Vec<_> = (0..1000u64).map(|at| (at * 7_919_311) % 100_000_000).map(|at| at..at + 200).collect();
        let pieces = blobs.get_ranges(&blob.path, &ranges).await?;
        println!("{} keys: 1000 ranges of 200 bytes in {:.1} ms", keys.len(), began.elapsed().as_secs_f64() * 1e3);
        assert!(
            ranges.iter().zip(pieces).all(|(range, piece)| piece == whole[range.start as usize..range.end as usize])
        );
    }
    Ok(())
}
