//! Limits of a key or a project, and the bucket that enforces a rate. Must never read a clock: times are handed in.

use std::time::Duration;
use std::time::Instant;

use serde::Deserialize;
use serde::Serialize;

use crate::domain::limits::LARGEST_WHOLE;

/// The name of the budget of tokens.
pub const MONTHLY_TOKENS: &str = "monthly_tokens";

/// What a key or a project may use. `None`: no limit of its own.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quota {
    /// Requests a minute.
    pub requests_per_minute: Option<i64>,
    /// Tokens read by the device a minute.
    pub tokens_per_minute: Option<i64>,
    /// Budget of tokens for a calendar month (UTC).
    pub monthly_tokens: Option<i64>,
    /// Budget of device time for a calendar month (UTC), in seconds.
    pub monthly_device_seconds: Option<i64>,
}

impl Quota {
    /// The field that cannot be used, if any: rates are at least 1, budgets at least 0, and all are whole numbers that JSON has.
    pub fn wrong_field(&self) -> Option<&'static str> {
        let outside =
            |value: Option<i64>, least: i64| value.is_some_and(|value| !(least..=LARGEST_WHOLE).contains(&value));
        [
            ("requests_per_minute", outside(self.requests_per_minute, 1)),
            ("tokens_per_minute", outside(self.tokens_per_minute, 1)),
            ("monthly_tokens", outside(self.monthly_tokens, 0)),
            ("monthly_device_seconds", outside(self.monthly_device_seconds, 0)),
        ]
        .into_iter()
        .find_map(|(name, wrong)| wrong.then_some(name))
    }

    /// These limits under those of `most`: what has none of its own takes that one's. Names the field that is above it.
    pub fn within(&self, most: &Self) -> Result<Self, &'static str> {
        let inherit = |name, own: Option<i64>, most: Option<i64>| match (own, most) {
            (Some(own), Some(most)) if own > most => Err(name),
            (own, most) => Ok(own.or(most)),
        };
        Ok(Self {
            requests_per_minute: inherit("requests_per_minute", self.requests_per_minute, most.requests_per_minute)?,
            tokens_per_minute: inherit("tokens_per_minute", self.tokens_per_minute, most.tokens_per_minute)?,
            monthly_tokens: inherit("monthly_tokens", self.monthly_tokens, most.monthly_tokens)?,
            monthly_device_seconds: inherit(
                "monthly_device_seconds",
                self.monthly_device_seconds,
                most.monthly_device_seconds,
            )?,
        })
    }

    /// Whether a month's use is over a budget; names the budget.
    pub fn exceeded(&self, used: &Used) -> Option<&'static str> {
        self.budgets(used).into_iter().find(Budget::is_spent).map(|budget| budget.name)
    }

    /// The budgets, each with what was used of it in the month.
    pub fn budgets(&self, used: &Used) -> Vec<Budget> {
        let tokens = self.monthly_tokens.map(|limit| (MONTHLY_TOKENS, limit, used.tokens));
        let device = self.monthly_device_seconds;
        let device = device.map(|limit| ("monthly_device_seconds", limit, used.device_us / 1_000_000));
        tokens.into_iter().chain(device).map(|(name, limit, used)| Budget { name, limit, used }).collect()
    }

    /// Whether there is any budget.
    pub fn has_budget(&self) -> bool {
        self.monthly_tokens.is_some() || self.monthly_device_seconds.is_some()
    }
}

/// A budget of a calendar month, and what was used of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    /// The quota's field.
    pub name: &'static str,
    /// In the field's unit.
    pub limit: i64,
    /// In the same.
    pub used: i64,
}

impl Budget {
    /// Whether nothing is left.
    pub fn is_spent(&self) -> bool {
        self.used >= self.limit
    }

    /// What is left; nothing where more was used than there was.
    pub fn left(&self) -> i64 {
        (self.limit - self.used).max(0)
    }
}

/// What was used in a month, as far as budgets look at it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Used {
    /// Tokens of training and of inference.
    pub tokens: i64,
    /// Device time, in microseconds.
    pub device_us: i64,
}

/// A token bucket: holds at most a minute's worth, refills evenly, and may be overdrawn by a cost that is known only afterwards.
#[derive(Debug, Clone)]
pub struct Bucket {
    per_minute: f64,
    level: f64,
    at: Instant,
}

/// How a bucket stands, for `x-ratelimit-*` headers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Level {
    /// A minute's worth.
    pub limit: u64,
    /// What is left.
    pub remaining: u64,
    /// Until it is full again.
    pub reset: Duration,
}

impl Bucket {
    /// A full bucket.
    pub fn new(per_minute: i64, now: Instant) -> Self {
        let per_minute = per_minute.max(1) as f64;
        Self { per_minute, level: per_minute, at: now }
    }

    /// Follows a changed limit; what was used stays used.
    pub fn set_limit(&mut self, per_minute: i64, now: Instant) {
        self.refill(now);
        let per_minute = per_minute.max(1) as f64;
        self.level = (self.level + per_minute - self.per_minute).min(per_minute);
        self.per_minute = per_minute;
    }

    fn refill(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        self.level = (self.level + passed * self.per_minute / 60.0).min(self.per_minute);
        self.at = self.at.max(now);
    }

    /// How long until `cost` fits; `None` when it fits now. Costs over a minute's worth fit into a full bucket.
    pub fn wait_for(&mut self, cost: f64, now: Instant) -> Option<Duration> {
        self.refill(now);
        let missing = cost.min(self.per_minute) - self.level;
        (missing > 1e-9).then(|| Duration::from_secs_f64(missing * 60.0 / self.per_minute))
    }

    /// Takes `cost`, below zero if need be.
    pub fn take(&mut self, cost: f64, now: Instant) {
        self.refill(now);
        self.level -= cost;
    }

    /// How it stands.
    pub fn level(&mut self, now: Instant) -> Level {
        self.refill(now);
        Level {
            limit: self.per_minute as u64,
            remaining: self.level.max(0.0) as u64,
            reset: Duration::from_secs_f64((self.per_minute - self.level).max(0.0) * 60.0 / self.per_minute),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_inherited_and_never_widened() {
        let none = Quota::default();
        let most = Quota { requests_per_minute: Some(60), monthly_tokens: Some(0), ..none };
        assert_eq!(none.within(&most), Ok(most));
        let tighter = Quota { requests_per_minute: Some(6), tokens_per_minute: Some(7), ..none };
        assert_eq!(tighter.within(&most), Ok(Quota { monthly_tokens: Some(0), ..tighter }));
        assert_eq!(tighter.within(&none), Ok(tighter));
        for (wider, field) in [
            (Quota { requests_per_minute: Some(61), ..none }, "requests_per_minute"),
            (Quota { monthly_tokens: Some(1), ..none }, "monthly_tokens"),
        ] {
            assert_eq!(wider.within(&most), Err(field));
        }
        let all = Quota {
            requests_per_minute: Some(1),
            tokens_per_minute: Some(2),
            monthly_tokens: Some(3),
            monthly_device_seconds: Some(4),
        };
        assert_eq!(none.within(&all), Ok(all));
    }

    #[test]
    fn a_bucket_gives_a_minutes_worth_and_refills_evenly() {
        let start = Instant::now();
        let mut bucket = Bucket::new(60, start);
        for _ in 0..60 {
            assert_eq!(bucket.wait_for(1.0, start), None);
            bucket.take(1.0, start);
        }
        assert_eq!(bucket.wait_for(1.0, start), Some(Duration::from_secs(1)));
        assert_eq!(bucket.level(start), Level { limit: 60, remaining: 0, reset: Duration::from_secs(60) });
        let later = start + Duration::from_secs(10);
        assert_eq!(bucket.wait_for(10.0, later), None);
        assert_eq!(bucket.level(later).remaining, 10);
        assert_eq!(bucket.level(start + Duration::from_secs(600)).remaining, 60, "no more than a minute's worth");
    }

    #[test]
    fn an_overdrawn_bucket_pays_back_before_it_gives() {
        let start = Instant::now();
        let mut bucket = Bucket::new(600, start);
        bucket.take(1200.0, start);
        assert_eq!(bucket.level(start).remaining, 0);
        assert_eq!(bucket.wait_for(10.0, start), Some(Duration::from_secs(61)));
        assert_eq!(bucket.wait_for(10.0, start + Duration::from_secs(61)), None);
    }

    #[test]
    fn a_changed_limit_keeps_what_was_used() {
        let start = Instant::now();
        let mut bucket = Bucket::new(100, start);
        bucket.take(40.0, start);
        bucket.set_limit(50, start);
        assert_eq!(bucket.level(start).remaining, 10);
        bucket.set_limit(200, start);
        assert_eq!(bucket.level(start).remaining, 160);
    }

    #[test]
    fn a_budget_of_nothing_is_over_at_once_and_none_never() {
        let none = Quota { monthly_tokens: Some(0), ..Quota::default() };
        assert_eq!(none.exceeded(&Used::default()), Some("monthly_tokens"));
        let device = Quota { monthly_device_seconds: Some(2), ..Quota::default() };
        assert_eq!(device.exceeded(&Used { tokens: 9, device_us: 1_999_999 }), None);
        assert_eq!(device.exceeded(&Used { tokens: 9, device_us: 2_000_000 }), Some("monthly_device_seconds"));
        let both = Quota { monthly_tokens: Some(4), ..device };
        let of = both.budgets(&Used { tokens: 9, device_us: 1_999_999 });
        let shown: Vec<_> = of.iter().map(|budget| (budget.name, budget.limit, budget.used, budget.left())).collect();
        assert_eq!(shown, [("monthly_tokens", 4, 9, 0), ("monthly_device_seconds", 2, 1, 1)]);
        assert_eq!(Quota::default().exceeded(&Used { tokens: i64::MAX, device_us: i64::MAX }), None);
        assert_eq!(Quota { tokens_per_minute: Some(0), ..Quota::default() }.wrong_field(), Some("tokens_per_minute"));
        let above = Quota { monthly_tokens: Some(LARGEST_WHOLE + 1), ..Quota::default() };
        assert_eq!(above.wrong_field(), Some("monthly_tokens"));
    }
}
