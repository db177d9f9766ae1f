//! Reading a batch of rows out of an uploaded file. Owns the way from row numbers to inputs; must never read more of a file
//! than the rows asked for.

use bytes::Bytes;

use crate::domain::error_code::ErrorCode;
use crate::engine::Inputs;
use crate::service::context::Context;
use crate::service::context::Result;
use crate::service::error::ServiceError;
use crate::service::files::row_format::INDEX_ENTRY_BYTES;
use crate::service::files::row_format::Row;
use crate::service::files::row_format::Shape;
use crate::service::files::row_format::parse;
use crate::service::files::row_format::read_entry;
use crate::store::StoreError;
use crate::store::files::FileRow;

/// The inputs in `numbers` (from 0) of `file`, in that order.
pub async fn read_rows(context: &Context, file: &FileRow, numbers: &[u64]) -> Result<Inputs> {
    let shape: Shape = serde_json::from_value(file.shape.clone()).map_err(ServiceError::internal)?;
    inputs(&shape, &read_records(context, file, numbers).await?)
}

/// The bytes of those rows.
pub async fn read_records(context: &Context, file: &FileRow, numbers: &[u64]) -> Result<Vec<Bytes>> {
    let rows = u64::try_from(file.rows).unwrap_or(0);
    if let Some(number) = numbers.iter().find(|number| **number >= rows) {
        let message = format!("rows: there is no row {number}; the file has rows 0 to {}.", rows - 1);
        return Err(ServiceError::new(ErrorCode::RowOutOfRange, message).at("rows"));
    }
    let entry_at = |number: &u64| number * INDEX_ENTRY_BYTES as u64..(number + 1) * INDEX_ENTRY_BYTES as u64;
    let entries = numbers.iter().map(entry_at).collect::<Vec<_>>();
    let entries = context.blobs.get_ranges(&file.index_blob, &entries).await.map_err(gone)?;
    let spans = entries.iter().map(|entry| {
        let entry: &[u8; INDEX_ENTRY_BYTES] = entry.as_ref().try_into().map_err(ServiceError::internal)?;
        let (offset, length) = read_entry(entry);
        Ok(offset..offset + length)
    });
    let spans = spans.collect::<Result<Vec<_>>>()?;
    context.blobs.get_ranges(&file.blob, &spans).await.map_err(gone)
}

/// A file whose row is there and whose contents are not was deleted past this host.
fn gone(error: StoreError) -> ServiceError {
    match error {
        StoreError::Missing => ServiceError::new(ErrorCode::FileDeleted, "The contents of the file are gone."),
        error => error.into(),
    }
}

fn inputs(shape: &Shape, records: &[Bytes]) -> Result<Inputs> {
    let mut texts = Vec::new();
    let mut ids = Vec::new();
    for record in records {
        match parse(shape, record).map_err(ServiceError::internal)? {
            Row::Text(text, pair) => texts.push((text, pair)),
            Row::Tokens(tokens) => ids.push(tokens),
        }
    }
    Ok(if ids.is_empty() { Inputs::Texts(texts) } else { Inputs::Tokens { ids, types: None } })
}
