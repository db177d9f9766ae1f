//! Identifiers, parsed once at the edge. Owns the prefixes that clients see; must never be replaced by a bare `Uuid` or
//! `String` past the `api` layer.

use std::fmt;
use std::str::FromStr;

use serde::Deserialize;
use serde::Serialize;
use uuid::Uuid;

/// The text is not an id of the kind asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a valid id")]
pub struct BadId;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(pub Uuid);

        impl $name {
            /// What every id of this kind begins with.
            pub const PREFIX: &'static str = $prefix;
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}{}", $prefix, self.0.simple())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = BadId;
            fn from_str(text: &str) -> Result<Self, BadId> {
                let raw = text.strip_prefix($prefix).filter(|raw| raw.len() == 32).ok_or(BadId)?;
                Uuid::try_parse(raw).map(Self).map_err(|_| BadId)
            }
        }

        impl TryFrom<String> for $name {
            type Error = BadId;
            fn try_from(text: String) -> Result<Self, BadId> {
                text.parse()
            }
        }

        impl From<$name> for Uuid {
            fn from(id: $name) -> Uuid {
                id.0
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.to_string()
            }
        }
    };
}

id!(
    /// A tenant: every row that a user can reach belongs to one project.
    ProjectId, "proj-"
);
id!(
    /// An API key. The id is the key's `jti` claim; the key itself is shown once and stored as a hash.
    KeyId, "key-"
);
id!(
    /// An uploaded file.
    FileId, "file-"
);
id!(
    /// A fine-tuning run.
    JobId, "ftjob-"
);
id!(
    /// An event of a job.
    EventId, "ftevent-"
);
id!(
    /// A saved state of a job.
    CheckpointId, "ftckpt_"
);
id!(
    /// One forward pass that a backward may refer to.
    ForwardId, "fwd-"
);
id!(
    /// A file that comes in parts.
    UploadId, "upload_"
);
id!(
    /// A part of an upload.
    PartId, "part_"
);
id!(
    /// A webhook: a URL that is told what happens to a project's jobs.
    WebhookId, "wh_"
);
id!(
    /// One message to one webhook; the same over all attempts to deliver it.
    DeliveryId, "msg_"
);
id!(
    /// Many requests in one file, answered by the host in its own time.
    BatchId, "batch_"
);
id!(
    /// A host of a fleet: one process of it, another one after each start.
    NodeId, "node-"
);
id!(
    /// An entry of the audit log.
    AuditId, "audit-"
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_reads_back_from_its_text() {
        let id = JobId(Uuid::from_u128(7));
        assert_eq!(id.to_string(), "ftjob-00000000000000000000000000000007");
        assert_eq!(id.to_string().parse(), Ok(id));
    }

    #[test]
    fn another_kind_a_hyphenated_uuid_and_junk_are_not_ids() {
        for text in [
            "file-00000000000000000000000000000007",
            "ftjob-",
            "",
            "ftjob-0000000-0000-0000-0000-00000000007",
            "ftjob-zz",
        ] {
            assert_eq!(text.parse::<JobId>(), Err(BadId), "{text}");
        }
    }
}
