//! A body on its way to the blob store. Owns that one that is refused, or too long, leaves nothing; must never read what is in it.

use bytes::Bytes;
use futures::Stream;
use futures::StreamExt;

use crate::domain::error_code::ErrorCode;
use crate::service::context::Context;
use crate::service::context::Result;
use crate::service::error::ServiceError;
use crate::store::blobs::BlobKind;
use crate::store::blobs::BlobRef;

/// Streams a body of at most `most` bytes into a blob; a body that is refused leaves none.
pub async fn receive<E>(
    context: &Context,
    kind: BlobKind,
    body: impl Stream<Item = std::result::Result<Bytes, E>>,
    most: u64,
) -> Result<BlobRef>
where
    ServiceError: From<E>,
{
    let mut body = std::pin::pin!(body);
    let mut writer = context.blobs.writer(kind).await?;
    while let Some(chunk) = body.next().await {
        let refused = match chunk {
            Err(error) => ServiceError::from(error),
            Ok(chunk) if writer.len() + chunk.len() as u64 > most => {
                ServiceError::new(ErrorCode::TooLarge, format!("At most {most} bytes in one piece.")).at("data")
            }
            Ok(chunk) => {
                writer.write(chunk).await?;
                continue;
            }
        };
        writer.abort().await?;
        return Err(refused);
    }
    if writer.is_empty() {
        writer.abort().await?;
        return Err(ServiceError::new(ErrorCode::EmptyPart, "The file is empty.").at("data"));
    }
    Ok(writer.finish().await?)
}
