//! The one error of the store. Owns the mapping from SQLSTATE; nothing above reads a database error.

use std::error::Error;

/// What a store function gives back.
pub type Result<T> = std::result::Result<T, StoreError>;

/// Why the store could not do as asked. Nothing of the transaction has been kept.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database or the blob store cannot be reached, is overloaded or gave up waiting. Trying again later may help.
    #[error("the store is not available: {0}")]
    Unavailable(#[source] Box<dyn Error + Send + Sync>),
    /// A unique or foreign key stands against the write.
    #[error("conflict with {0}")]
    Conflict(
        /// Name of the constraint, `projects_name_key` for example.
        String,
    ),
    /// The place for blobs, or the database's disk, has no room left.
    #[error("the store is full: {0}")]
    Full(#[source] Box<dyn Error + Send + Sync>),
    /// The row or the blob is not there.
    #[error("not found")]
    Missing,
    /// A blob is there, and its bytes are not the ones that were written.
    #[error("blob {0} is damaged")]
    Damaged(
        /// Path of the blob.
        String,
    ),
    /// A blob is encrypted with a key that this host was not given. Nothing is wrong with its bytes.
    #[error(
        "blob {path} is encrypted with key {key}, which state.blob_keys does not name: add it there (the first key encrypts what is new, the others read)"
    )]
    Locked {
        /// Path of the blob.
        path: String,
        /// Name of the key.
        key: String,
    },
    /// What the settings name as a key for blobs is none.
    #[error("state.blob_keys: {reference} {reason}")]
    BadKey {
        /// The file or variable.
        reference: String,
        /// Why it is none; never what it holds.
        reason: String,
    },
    /// The database has migrations that this program does not know, or knows with another text: it was made by another version.
    #[error("another version of blindtune made this database: its migration {version} is not one of this program's")]
    OtherVersion {
        /// Number of the first such migration.
        version: i64,
    },
    /// Anything else: a bug, or a broken installation.
    #[error("the store failed: {0}")]
    Database(#[source] Box<dyn Error + Send + Sync>),
}

impl StoreError {
    /// Wraps a failure that may pass by itself.
    pub(crate) fn unavailable(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Unavailable(error.into())
    }

    /// Wraps a failure that will not pass by itself.
    pub(crate) fn broken(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Database(error.into())
    }
}

/// What a SQLSTATE means to the layers above.
#[derive(Debug, PartialEq, Eq)]
enum Meaning {
    Unavailable,
    Full,
    Conflict,
    Broken,
}

fn meaning(sqlstate: &str) -> Meaning {
    match sqlstate {
        // unique_violation, foreign_key_violation, exclusion_violation
        "23505" | "23503" | "23P01" => Meaning::Conflict,
        // serialization_failure, deadlock_detected, lock_not_available, idle_in_transaction_session_timeout,
        // read_only_sql_transaction (a standby after a failover), io_error
        "40001" | "40P01" | "55P03" | "25P03" | "25006" | "58030" => Meaning::Unavailable,
        // disk_full
        "53100" => Meaning::Full,
        // connection_exception, insufficient_resources (too many connections), operator_intervention (shutdown,
        // statement_timeout)
        code if ["08", "53", "57"].iter().any(|class| code.starts_with(class)) => Meaning::Unavailable,
        _ => Meaning::Broken,
    }
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        match &error {
            sqlx::Error::RowNotFound => Self::Missing,
            sqlx::Error::PoolTimedOut
            | sqlx::Error::PoolClosed
            | sqlx::Error::WorkerCrashed
            | sqlx::Error::Io(_)
            | sqlx::Error::Tls(_) => Self::unavailable(error),
            sqlx::Error::Database(db) => match meaning(&db.code().unwrap_or_default()) {
                Meaning::Conflict => Self::Conflict(db.constraint().unwrap_or_default().to_owned()),
                Meaning::Unavailable => Self::unavailable(error),
                Meaning::Full => Self::Full(error.into()),
                Meaning::Broken => Self::broken(error),
            },
            _ => Self::broken(error),
        }
    }
}

impl From<object_store::Error> for StoreError {
    fn from(error: object_store::Error) -> Self {
        match &error {
            object_store::Error::NotFound { .. } => Self::Missing,
            object_store::Error::Generic { .. } => Self::unavailable(error),
            _ => Self::broken(error),
        }
    }
}

impl From<std::io::Error> for StoreError {
    fn from(error: std::io::Error) -> Self {
        match error.kind() {
            std::io::ErrorKind::NotFound => Self::Missing,
            std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => Self::Full(error.into()),
            _ => Self::unavailable(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_sqlstate_has_its_meaning() {
        let cases = [
            ("23505", Meaning::Conflict),
            ("23503", Meaning::Conflict),
            ("23514", Meaning::Broken),
            ("42P01", Meaning::Broken),
            ("40001", Meaning::Unavailable),
            ("40P01", Meaning::Unavailable),
            ("55P03", Meaning::Unavailable),
            ("57014", Meaning::Unavailable),
            ("57P01", Meaning::Unavailable),
            ("57P03", Meaning::Unavailable),
            ("53100", Meaning::Full),
            ("53300", Meaning::Unavailable),
            ("08006", Meaning::Unavailable),
            ("", Meaning::Broken),
        ];
        for (code, expected) in cases {
            assert_eq!(meaning(code), expected, "{code}");
        }
    }

    #[test]
    fn a_full_pool_and_a_broken_connection_are_transient() {
        let broken = sqlx::Error::Io(std::io::Error::from(std::io::ErrorKind::ConnectionReset));
        for error in [sqlx::Error::PoolTimedOut, sqlx::Error::PoolClosed, broken] {
            assert!(matches!(StoreError::from(error), StoreError::Unavailable(_)));
        }
        assert!(matches!(StoreError::from(sqlx::Error::RowNotFound), StoreError::Missing));
    }
}
