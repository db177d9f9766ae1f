//! SHA-256 of a file's bytes in headers and fields. Owns how a client's is read and how the host's is written; must never decide whether two agree.
//!
//! A form's own `Content-Digest` or `Repr-Digest` (RFC 9530) would be of the whole form, boundary and all. The hash of the file is
//! therefore taken from the headers of its part, or, for clients that cannot set those, from S3's header on the request, which means
//! the object's bytes there as well.

use axum::http::HeaderMap;
use axum::http::HeaderName;
use axum::http::HeaderValue;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::api::error::ApiError;
use crate::domain::error_code::ErrorCode;
use crate::service::Checksum;

/// Of a part of a form: of its content.
pub const CONTENT_DIGEST: &str = "content-digest";
/// Of a request: of the bytes of the file in its form.
pub const AMZ_CHECKSUM: &str = "x-amz-checksum-sha256";
/// Of an answer: of the whole file, whatever range of it is answered.
pub const REPR_DIGEST: HeaderName = HeaderName::from_static("repr-digest");

/// What a request says of the file in its form.
pub fn of_request(headers: &HeaderMap) -> Result<Option<Checksum>, ApiError> {
    let Some(value) = headers.get(AMZ_CHECKSUM) else { return Ok(None) };
    let sha256 = value.to_str().ok().and_then(|text| decode(text.trim()));
    let refuse = || refused(AMZ_CHECKSUM, "the SHA-256 of the file in base64, 44 characters");
    Ok(Some(Checksum { sha256: sha256.ok_or_else(refuse)?, place: AMZ_CHECKSUM }))
}

/// What a part of a form says of its content.
pub fn of_part(headers: &HeaderMap) -> Result<Option<Checksum>, ApiError> {
    if !headers.contains_key(CONTENT_DIGEST) {
        return Ok(None);
    }
    let lines: Option<Vec<&str>> = headers.get_all(CONTENT_DIGEST).iter().map(|value| value.to_str().ok()).collect();
    let refuse = || refused(CONTENT_DIGEST, "sha-256=:BASE64: of the part's bytes (RFC 9530)");
    let sha256 = lines.and_then(|lines| sha256_in(&lines.join(","))).ok_or_else(refuse)?;
    Ok(Some(Checksum { sha256, place: CONTENT_DIGEST }))
}

/// What field `sha256` of a completion says of the whole.
pub fn of_field(text: &str) -> Result<Checksum, ApiError> {
    let sha256 = hex::decode(text).ok().and_then(|bytes| bytes.try_into().ok());
    let refuse = || refused("sha256", "the SHA-256 of the file in hex, 64 characters");
    Ok(Checksum { sha256: sha256.ok_or_else(refuse)?, place: "sha256" })
}

/// `Repr-Digest` for a hash in hexadecimal.
pub fn repr_digest(sha256: &str) -> Option<HeaderValue> {
    HeaderValue::from_str(&format!("sha-256=:{}:", STANDARD.encode(hex::decode(sha256).ok()?))).ok()
}

/// The hash in a dictionary of digests; those by other algorithms are passed over, and the last of one name counts (RFC 8941).
fn sha256_in(digests: &str) -> Option<[u8; 32]> {
    let mut members = digests.split(',').filter_map(|member| member.split_once('='));
    let (_, value) = members.rfind(|(name, _)| name.trim() == "sha-256")?;
    let value = value.split(';').next().unwrap_or_default().trim_end();
    decode(value.strip_prefix(':')?.strip_suffix(':')?)
}

fn decode(text: &str) -> Option<[u8; 32]> {
    STANDARD.decode(text).ok()?.try_into().ok()
}

fn refused(place: &str, form: &str) -> ApiError {
    ApiError::new(ErrorCode::InvalidChecksum, format!("{place}: must be {form}.")).at(place)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of no bytes.
    const EMPTY: &str = "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=";

    #[test]
    fn a_digest_is_found_among_others_in_its_standard_form_alone() {
        let right = [
            format!("sha-256=:{EMPTY}:"),
            format!("sha-512=:YQ==:, sha-256=:{EMPTY}:;n=1"),
            format!("sha-256=:YQ==:,sha-256=:{EMPTY}:"),
        ];
        for text in &right {
            assert_eq!(sha256_in(text).map(hex::encode).as_deref().map(|hash| &hash[..8]), Some("e3b0c442"), "{text}");
        }
        let wrong =
            [EMPTY.to_owned(), format!("sha-256={EMPTY}"), format!("SHA-256=:{EMPTY}:"), "sha-256=:YQ==:".into()];
        for text in &wrong {
            assert_eq!(sha256_in(text), None, "{text}");
        }
    }

    #[test]
    fn what_is_written_is_what_is_read() {
        let hash = "5f".repeat(32);
        let written = repr_digest(&hash).expect("a hash");
        assert_eq!(sha256_in(written.to_str().expect("text")).map(hex::encode), Some(hash));
    }
}
