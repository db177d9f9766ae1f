//! Answers that nobody has read yet. Owns that the bytes of a body stay on the account of held bytes until the last of them is written
//! to the socket, or the connection is gone.

use axum::body::Body;
use axum::body::to_bytes;
use axum::response::Response;
use bytes::Bytes;

use crate::api::error::ApiError;
use crate::service::Held;
use crate::service::ServiceError;

/// A body and its place on the account, dropped together: hyper keeps the bytes until the socket has them.
struct Unread {
    bytes: Bytes,
    _held: Held,
}

impl AsRef<[u8]> for Unread {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// Holds the bytes of an answer that is whole until they are read; what was held for more goes back.
pub async fn until_read(response: Response, mut held: Held) -> Result<Response, ApiError> {
    let (parts, body) = response.into_parts();
    let bytes = to_bytes(body, usize::MAX).await.map_err(ServiceError::internal)?;
    held.shrink_to(bytes.len() as u64);
    Ok(Response::from_parts(parts, Body::from(Bytes::from_owner(Unread { bytes, _held: held }))))
}
