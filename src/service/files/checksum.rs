//! A client's hash of what it sends. Owns what is said when other bytes came; must never keep bytes that differ.

use crate::domain::error_code::ErrorCode;
use crate::service::context::Result;
use crate::service::error::ServiceError;

/// What the bytes should hash to, as their sender says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checksum {
    /// SHA-256.
    pub sha256: [u8; 32],
    /// The header or field that said so.
    pub place: &'static str,
}

/// Refuses bytes with another hash (in hexadecimal) than one of these.
pub fn check(checksums: &[Checksum], found: &str) -> Result<()> {
    let differs = |checksum: &&Checksum| hex::encode(checksum.sha256) != found;
    let Some(Checksum { sha256, place }) = checksums.iter().find(differs) else { return Ok(()) };
    let announced = hex::encode(sha256);
    let message = format!(
        "{place}: the bytes that came have SHA-256 {found}; announced was {announced}. Nothing was kept: send them again, or correct the checksum."
    );
    Err(ServiceError::new(ErrorCode::ChecksumMismatch, message).at(*place))
}
