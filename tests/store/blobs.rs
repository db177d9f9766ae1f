//! Blobs in a local folder.

use std::time::Duration;

use blindtune::store::StoreError;
use blindtune::store::blobs::BlobKind;
use blindtune::store::blobs::Blobs;
use bytes::Bytes;
use futures::TryStreamExt;
use sha2::Digest;
use sha2::Sha256;
use tempfile::TempDir;

use crate::TestResult;

async fn folder() -> Result<(TempDir, Blobs), Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    let blobs = Blobs::open(folder.path().join("blobs").to_str().ok_or("a text")?).await?;
    Ok((folder, blobs))
}

fn names(folder: &TempDir, kind: &str) -> Vec<String> {
    let entries = std::fs::read_dir(folder.path().join("blobs").join(kind)).expect("a folder");
    entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect()
}

#[tokio::test]
async fn a_blob_reads_back_whole_in_pieces_and_as_a_stream() -> TestResult {
    let (folder, blobs) = folder().await?;
    let blob = blobs.put_atomic(BlobKind::Checkpoints, Bytes::from_static(b"0123456789")).await?;
    assert_eq!(blob.sha256, hex::encode(Sha256::digest(b"0123456789")));
    assert!(blob.path.starts_with(&format!("checkpoints/{}", blob.sha256)));
    assert_eq!(blobs.get_verified(&blob).await?, "0123456789");
    assert_eq!(blobs.get_range(&blob.path, 2..5).await?, "234");
    assert_eq!(blobs.get_ranges(&blob.path, &[8..10, 0..1]).await?, ["89", "0"]);
    let pieces: Vec<Bytes> = blobs.stream(&blob.path).await?.try_collect().await?;
    assert_eq!(pieces.concat(), b"0123456789");
    assert_eq!(names(&folder, "checkpoints").len(), 1, "nothing else is left in the folder");
    blobs.delete(&blob.path).await?;
    blobs.delete(&blob.path).await?;
    assert!(matches!(blobs.get(&blob.path).await, Err(StoreError::Missing)));
    Ok(())
}

#[tokio::test]
async fn equal_contents_are_two_blobs_so_that_deleting_one_keeps_the_other() -> TestResult {
    let (_folder, blobs) = folder().await?;
    let one = blobs.put_atomic(BlobKind::Adapters, Bytes::from_static(b"x")).await?;
    let two = blobs.put_atomic(BlobKind::Adapters, Bytes::from_static(b"x")).await?;
    blobs.delete(&one.path).await?;
    assert_eq!(blobs.get_verified(&two).await?, "x");
    Ok(())
}

#[tokio::test]
async fn a_damaged_blob_is_always_noticed() -> TestResult {
    let (folder, blobs) = folder().await?;
    let whole: Vec<u8> = (0..=255).collect();
    let blob = blobs.put_atomic(BlobKind::Checkpoints, whole.clone().into()).await?;
    let path = folder.path().join("blobs").join(&blob.path);
    for length in 0..whole.len() {
        std::fs::write(&path, &whole[..length])?;
        assert!(matches!(blobs.get_verified(&blob).await, Err(StoreError::Damaged(_))), "cut at {length}");
        let mut flipped = whole.clone();
        flipped[length] ^= 1 << (length % 8);
        std::fs::write(&path, &flipped)?;
        assert!(matches!(blobs.get_verified(&blob).await, Err(StoreError::Damaged(_))), "flipped at {length}");
    }
    std::fs::write(&path, &whole)?;
    assert_eq!(blobs.get_verified(&blob).await?, whole);
    Ok(())
}

#[tokio::test]
async fn an_upload_appears_only_when_it_is_finished() -> TestResult {
    let (folder, blobs) = folder().await?;
    let mut writer = blobs.writer(BlobKind::Files).await?;
    writer.write(Bytes::from_static(b"hello ")).await?;
    assert!(blobs.older_than(BlobKind::Files, Duration::ZERO).await?.is_empty(), "it is not there yet");
    writer.write(Bytes::from_static(b"world")).await?;
    let blob = writer.finish().await?;
    assert_eq!((blob.bytes, blobs.get_verified(&blob).await?), (11, Bytes::from_static(b"hello world")));
    let mut given_up = blobs.writer(BlobKind::Files).await?;
    given_up.write(Bytes::from_static(b"x")).await?;
    given_up.abort().await?;
    drop(blobs.writer(BlobKind::Files).await?);
    assert_eq!(names(&folder, "files").len(), 1, "neither left anything");
    Ok(())
}

#[tokio::test]
async fn what_a_crash_left_half_written_is_no_blob_and_is_removed() -> TestResult {
    let (folder, blobs) = folder().await?;
    let blob = blobs.put_atomic(BlobKind::Checkpoints, Bytes::from_static(b"whole")).await?;
    std::fs::write(folder.path().join("blobs/checkpoints/half.tmp"), "ha")?;
    let hour = Duration::from_secs(3600);
    assert_eq!(blobs.remove_leftovers(hour).await?, 0, "it may still be written");
    assert!(blobs.older_than(BlobKind::Checkpoints, hour).await?.is_empty());
    assert_eq!(blobs.remove_leftovers(Duration::ZERO).await?, 1);
    assert_eq!(blobs.get_verified(&blob).await?, "whole");
    Ok(())
}

#[tokio::test]
async fn a_name_that_leads_out_of_the_folder_is_refused() -> TestResult {
    let (folder, blobs) = folder().await?;
    std::fs::write(folder.path().join("secret"), "s")?;
    for path in ["../secret", "files/../../secret", "/etc/passwd", "files//x", "", "files/%2e%2e/%2e%2e/secret"] {
        assert!(blobs.get(path).await.is_err(), "{path}");
    }
    Ok(())
}

#[tokio::test]
async fn a_place_that_is_neither_folder_nor_bucket_is_refused() {
    for place in ["ftp://host/x", "http://host/x"] {
        assert!(Blobs::open(place).await.is_err(), "{place}");
    }
}
