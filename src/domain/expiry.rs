//! How long things may live. Owns the bounds of `expires_after`; must never read a clock: now and the birth come in.

use std::ops::RangeInclusive;

/// What a time to live counts from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Anchor {
    /// When the thing was made.
    CreatedAt,
    /// The moment of the request.
    Now,
}

impl Anchor {
    /// The word that clients use.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::CreatedAt => "created_at",
            Self::Now => "now",
        }
    }
}

/// A time to live as a client asked for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExpiresAfter {
    /// `created_at` or `now`.
    pub anchor: String,
    /// From the anchor on.
    pub seconds: i64,
}

/// Files: an hour to 30 days, as in OpenAI's API.
const FILE_SECONDS: RangeInclusive<i64> = 3600..=2_592_000;
/// Checkpoints: an hour to ten years.
const CHECKPOINT_SECONDS: RangeInclusive<i64> = 3600..=315_360_000;

/// A time to live that cannot be used, and the field at fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expires_after.{field}: {reason}")]
pub struct BadExpiry {
    /// `anchor` or `seconds`.
    pub field: &'static str,
    /// What is wrong with it.
    pub reason: String,
}

impl ExpiresAfter {
    /// Seconds that a file lives from its creation on.
    pub fn of_file(&self) -> Result<i64, BadExpiry> {
        self.anchored(&[Anchor::CreatedAt])?;
        self.within(FILE_SECONDS)
    }

    /// What a checkpoint's life counts from, and for how many seconds.
    pub fn of_checkpoint(&self) -> Result<(Anchor, i64), BadExpiry> {
        Ok((self.anchored(&[Anchor::CreatedAt, Anchor::Now])?, self.within(CHECKPOINT_SECONDS)?))
    }

    fn anchored(&self, known: &[Anchor]) -> Result<Anchor, BadExpiry> {
        known.iter().copied().find(|anchor| anchor.as_str() == self.anchor).ok_or_else(|| {
            let words: Vec<&str> = known.iter().map(|anchor| anchor.as_str()).collect();
            BadExpiry { field: "anchor", reason: format!("must be {}", words.join(" or ")) }
        })
    }

    fn within(&self, bounds: RangeInclusive<i64>) -> Result<i64, BadExpiry> {
        match bounds.contains(&self.seconds) {
            true => Ok(self.seconds),
            false => {
                let reason = format!("must be from {} to {}", bounds.start(), bounds.end());
                Err(BadExpiry { field: "seconds", reason })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(anchor: &str, seconds: i64) -> ExpiresAfter {
        ExpiresAfter { anchor: anchor.to_owned(), seconds }
    }

    #[test]
    fn a_file_lives_from_an_hour_to_thirty_days_after_its_creation() {
        for seconds in [3600, 2_592_000] {
            assert_eq!(after("created_at", seconds).of_file(), Ok(seconds));
        }
        for seconds in [i64::MIN, -1, 0, 3599, 2_592_001, i64::MAX] {
            assert_eq!(after("created_at", seconds).of_file().map_err(|bad| bad.field), Err("seconds"), "{seconds}");
        }
        for anchor in ["now", "", "last_active_at"] {
            assert_eq!(after(anchor, 3600).of_file().map_err(|bad| bad.field), Err("anchor"), "{anchor}");
        }
    }

    #[test]
    fn a_checkpoints_life_may_also_count_from_now() {
        assert_eq!(after("now", 3600).of_checkpoint(), Ok((Anchor::Now, 3600)));
        assert_eq!(after("created_at", 315_360_000).of_checkpoint(), Ok((Anchor::CreatedAt, 315_360_000)));
        assert!(after("now", 3599).of_checkpoint().is_err() && after("then", 3600).of_checkpoint().is_err());
    }
}
