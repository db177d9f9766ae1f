//! How domain values are read from columns. Owns the pairs of Rust type and column type; must never hold a query.

use sqlx::Decode;
use sqlx::Postgres;
use sqlx::Type;
use sqlx::error::BoxDynError;
use sqlx::postgres::PgHasArrayType;
use sqlx::postgres::PgTypeInfo;
use sqlx::postgres::PgValueRef;
use sqlx::types::Json;
use uuid::Uuid;

use crate::domain::batch::BatchEndpoint;
use crate::domain::batch::BatchStatus;
use crate::domain::features::FeatureSettings;
use crate::domain::ids::AuditId;
use crate::domain::ids::BatchId;
use crate::domain::ids::CheckpointId;
use crate::domain::ids::DeliveryId;
use crate::domain::ids::EventId;
use crate::domain::ids::FileId;
use crate::domain::ids::ForwardId;
use crate::domain::ids::JobId;
use crate::domain::ids::KeyId;
use crate::domain::ids::PartId;
use crate::domain::ids::ProjectId;
use crate::domain::ids::UploadId;
use crate::domain::ids::WebhookId;
use crate::domain::job::JobState;
use crate::domain::principal::Scope;
use crate::domain::protection::Protection;
use crate::domain::settings::SplitSettings;
use crate::domain::steps::StepKind;
use crate::domain::webhooks::DeliveryState;
use crate::domain::webhooks::WebhookEvent;
use crate::store::batches::BatchErrors;
use crate::store::events::EventKind;
use crate::store::events::Level;
use crate::store::jobs::JobFailure;
use crate::store::jobs::Metadata;
use crate::store::jobs::Origin;
use crate::store::ledger::LedgerKind;
use crate::store::ledger::SentTensors;
use crate::store::models::AdapterBlobs;

/// Reads `$name` from a column of the type that `$column` has.
macro_rules! column {
    ($name:ty as $column:ty, $read:expr) => {
        impl Type<Postgres> for $name {
            fn type_info() -> PgTypeInfo {
                <$column as Type<Postgres>>::type_info()
            }
            fn compatible(column: &PgTypeInfo) -> bool {
                <$column as Type<Postgres>>::compatible(column)
            }
        }

        impl<'r> Decode<'r, Postgres> for $name {
            fn decode(value: PgValueRef<'r>) -> Result<Self, BoxDynError> {
                let read: fn($column) -> Result<Self, BoxDynError> = $read;
                read(<$column as Decode<'r, Postgres>>::decode(value)?)
            }
        }
    };
}

macro_rules! id_columns {
    ($($name:ident),* $(,)?) => { $(column!($name as Uuid, |raw| Ok(Self(raw)));)* };
}

macro_rules! text_columns {
    ($($name:ident),* $(,)?) => { $(
        column!($name as String, |text| {
            let known = Self::ALL.into_iter().find(|value| value.as_str() == text);
            known.ok_or_else(|| format!("'{text}' is not a {}", stringify!($name)).into())
        });
    )* };
}

macro_rules! json_columns {
    ($($name:ident),* $(,)?) => { $(column!($name as Json<$name>, |json| Ok(json.0));)* };
}

id_columns!(
    ProjectId,
    KeyId,
    FileId,
    JobId,
    EventId,
    CheckpointId,
    ForwardId,
    UploadId,
    PartId,
    WebhookId,
    DeliveryId,
    AuditId,
    BatchId
);
text_columns!(
    JobState,
    Protection,
    Scope,
    Level,
    EventKind,
    LedgerKind,
    WebhookEvent,
    DeliveryState,
    BatchEndpoint,
    BatchStatus
);
json_columns!(SplitSettings, FeatureSettings, Metadata, JobFailure, Origin, AdapterBlobs, SentTensors, BatchErrors);

column!(StepKind as String, |text| {
    let known = [Self::Forward, Self::Backward, Self::OptimStep].into_iter().find(|kind| kind.as_str() == text);
    known.ok_or_else(|| format!("'{text}' is not a StepKind").into())
});

/// Lists of texts.
macro_rules! text_arrays {
    ($($name:ident),* $(,)?) => { $(
        impl PgHasArrayType for $name {
            fn array_type_info() -> PgTypeInfo {
                <String as PgHasArrayType>::array_type_info()
            }
            fn array_compatible(column: &PgTypeInfo) -> bool {
                <String as PgHasArrayType>::array_compatible(column)
            }
        }
    )* };
}

text_arrays!(Scope, WebhookEvent);

/// Lists of ids.
impl PgHasArrayType for FileId {
    fn array_type_info() -> PgTypeInfo {
        <Uuid as PgHasArrayType>::array_type_info()
    }
}
