//! Who may use how much. Owns the rates and budgets of keys and projects, and the count of answered requests. Rates are kept
//! in this process: with several hosts each enforces them by itself. Must never stop work that has begun.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

use parking_lot::Mutex;

use crate::domain::ids::KeyId;
use crate::domain::ids::ProjectId;
use crate::domain::principal::Principal;
use crate::domain::quota::Bucket;
use crate::domain::quota::Level;
use crate::domain::quota::Quota;
use crate::domain::quota::Used;
use crate::service::context::Context;
use crate::service::context::Result;
use crate::store::usage;
use crate::store::usage::Amounts;
use crate::store::usage::Consumer;

/// A month's use is read again after this long: a budget can be overrun by what is used meanwhile.
const MONTH_FRESH: Duration = Duration::from_secs(5);

/// Whom a limit is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Holder {
    Project(ProjectId),
    Key(KeyId),
}

struct Buckets {
    requests: Bucket,
    tokens: Bucket,
}

/// How a key stands: the tighter of its own limits and its project's.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Standing {
    /// Requests.
    pub requests: Level,
    /// Tokens.
    pub tokens: Level,
}

/// Why a request may not be carried out.
#[derive(Debug, Clone, PartialEq)]
pub enum Denied {
    /// Too fast; there is room after this long.
    Rate {
        /// `requests` or `tokens`.
        of: &'static str,
        /// How long to wait.
        wait: Duration,
    },
    /// A budget is spent.
    Budget {
        /// Its name.
        name: &'static str,
        /// Whether it is the key's own, not the project's.
        of_key: bool,
    },
}

/// The limits of all keys and projects.
pub struct Governor {
    context: Arc<Context>,
    buckets: Mutex<HashMap<Holder, Buckets>>,
    months: Mutex<HashMap<Holder, (Instant, Used)>>,
    answered: Mutex<HashMap<(ProjectId, KeyId), i64>>,
}

impl Governor {
    /// Nothing used yet.
    pub fn new(context: Arc<Context>) -> Self {
        Self { context, buckets: Mutex::default(), months: Mutex::default(), answered: Mutex::default() }
    }

    /// Counts a request against the caller's limits. `device`: whether it makes the device work, so that tokens and budgets
    /// count as well. Gives why it is refused, if it is.
    pub async fn admit(&self, caller: &Principal, device: bool) -> Result<Option<Denied>> {
        let denied = self.too_fast(caller, device);
        let denied = match denied {
            None if device => self.over_budget(caller).await?,
            denied => denied,
        };
        if denied.is_none() {
            self.each(caller, |buckets, now| buckets.requests.take(1.0, now));
        }
        *self.answered.lock().entry((caller.project, caller.key)).or_default() += 1;
        Ok(denied)
    }

    /// Charges tokens that a call turned out to need.
    pub fn charge(&self, caller: &Principal, tokens: u64) {
        self.each(caller, |buckets, now| buckets.tokens.take(tokens as f64, now));
    }

    /// How the caller stands.
    pub fn standing(&self, caller: &Principal) -> Standing {
        let mut levels = Vec::new();
        self.each(caller, |buckets, now| levels.push((buckets.requests.level(now), buckets.tokens.level(now))));
        let tighter = |pick: fn(&(Level, Level)) -> Level| {
            levels.iter().map(pick).min_by_key(|level| level.remaining).unwrap_or(NOTHING)
        };
        Standing { requests: tighter(|levels| levels.0), tokens: tighter(|levels| levels.1) }
    }

    fn too_fast(&self, caller: &Principal, device: bool) -> Option<Denied> {
        let mut requests = None;
        let mut tokens = None;
        self.each(caller, |buckets, now| {
            requests = requests.max(buckets.requests.wait_for(1.0, now));
            tokens = tokens.max(buckets.tokens.wait_for(1.0, now).filter(|_| device));
        });
        let rate = |of, wait: Option<Duration>| wait.map(|wait| Denied::Rate { of, wait });
        rate("requests", requests).or(rate("tokens", tokens))
    }

    async fn over_budget(&self, caller: &Principal) -> Result<Option<Denied>> {
        for (of_key, quota, holder) in [
            (true, &caller.quota, Holder::Key(caller.key)),
            (false, &caller.project_quota, Holder::Project(caller.project)),
        ] {
            if !quota.has_budget() {
                continue;
            }
            let used = self.month(caller.project, holder).await?;
            if let Some(name) = quota.exceeded(&used) {
                return Ok(Some(Denied::Budget { name, of_key }));
            }
        }
        Ok(None)
    }

    async fn month(&self, project: ProjectId, holder: Holder) -> Result<Used> {
        let known = self.months.lock().get(&holder).copied();
        if let Some((at, used)) = known
            && at.elapsed() < MONTH_FRESH
        {
            return Ok(used);
        }
        let key = match holder {
            Holder::Key(key) => Some(key),
            Holder::Project(_) => None,
        };
        let used = usage::this_month(&mut *self.context.connection().await?, project, key).await?;
        self.months.lock().insert(holder, (Instant::now(), used));
        Ok(used)
    }

    /// The project's buckets, and the key's where it has limits of its own.
    fn each(&self, caller: &Principal, mut with: impl FnMut(&mut Buckets, Instant)) {
        let now = Instant::now();
        let limits = &self.context.limits;
        let mut buckets = self.buckets.lock();
        let mut one = |holder: Holder, quota: &Quota| {
            let requests = quota.requests_per_minute.unwrap_or(i64::from(limits.requests_per_minute));
            let tokens = quota.tokens_per_minute.unwrap_or(limits.tokens_per_minute.cast_signed());
            let held = buckets
                .entry(holder)
                .or_insert_with(|| Buckets { requests: Bucket::new(requests, now), tokens: Bucket::new(tokens, now) });
            held.requests.set_limit(requests, now);
            held.tokens.set_limit(tokens, now);
            with(held, now);
        };
        one(Holder::Project(caller.project), &caller.project_quota);
        if caller.quota.requests_per_minute.is_some() || caller.quota.tokens_per_minute.is_some() {
            one(Holder::Key(caller.key), &caller.quota);
        }
    }

    /// Writes the counted requests down. What cannot be written is counted again later.
    pub async fn flush(&self) -> Result<()> {
        let counted: Vec<_> = self.answered.lock().drain().collect();
        let mut failed = Ok(());
        for ((project, key), requests) in counted {
            let amounts = Amounts { requests, ..Amounts::default() };
            let written = async {
                let consumer = Consumer { project, key, model: "", job: None };
                usage::add(&mut *self.context.connection().await?, &consumer, &amounts).await?;
                Ok(())
            };
            if let Err(error) = written.await {
                *self.answered.lock().entry((project, key)).or_default() += requests;
                failed = Err(error);
            }
        }
        failed
    }
}

const NOTHING: Level = Level { limit: 0, remaining: 0, reset: Duration::ZERO };
