//! Bytes that a host holds for others between their calls: open sessions, kept answers, answers that nobody has read yet. Owns the one
//! account of them, by job, project and host, and what a session holds; must never know what the bytes are.
//!
//! Who holds bytes has a [`Held`] of as many, taken before the bytes are made and given back when it is dropped.

use std::collections::HashMap;
use std::fmt;
use std::hash::Hash;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::domain::ids::JobId;
use crate::domain::ids::ProjectId;
use crate::domain::limits::Limits;
use crate::domain::settings::Custody;
use crate::domain::tensor::Dtype;

/// Retained forwards of one job; each pins its adapter values.
const MOST_FORWARDS: u64 = 8;
/// Part of a job's budget that adapter values of retained forwards may take.
const PINNED_PART: u64 = 8;

/// Whose budget.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Budget {
    /// One job's.
    Job,
    /// One project's.
    Project,
    /// The host's.
    Host,
}

impl Budget {
    /// The setting that names it.
    pub fn setting(self) -> &'static str {
        match self {
            Self::Job => "limits.held_bytes_per_job",
            Self::Project => "limits.held_bytes_per_project",
            Self::Host => "limits.held_bytes",
        }
    }
}

/// Bytes for which a budget has no room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exceeded {
    /// The budget.
    pub budget: Budget,
    /// Bytes that were asked for.
    pub asked: u64,
    /// Bytes that are held already.
    pub held: u64,
    /// Bytes that may be.
    pub limit: u64,
}

impl Exceeded {
    /// Whether the bytes would not fit even if nothing else were held.
    pub fn is_final(&self) -> bool {
        self.asked > self.limit
    }
}

impl fmt::Display for Exceeded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { budget, asked, held, limit } = self;
        let setting = budget.setting();
        match (self.is_final(), budget) {
            // What others hold is not for this caller to know.
            (false, Budget::Host) => write!(f, "{asked} bytes more than others leave of {setting}, which is {limit}"),
            (false, _) => write!(f, "{asked} bytes beside the {held} that are held, and {setting} is {limit}"),
            (true, _) => write!(f, "{asked} bytes, and {setting} is {limit}"),
        }
    }
}

/// For whom bytes are held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Holder {
    /// The project.
    pub project: ProjectId,
    /// The job; absent for what belongs to none.
    pub job: Option<JobId>,
}

/// The account of a host. Copies are of the same one.
#[derive(Debug, Clone)]
pub struct HeldBytes(Arc<Mutex<Account>>);

#[derive(Debug)]
struct Account {
    limits: [u64; 3],
    jobs: HashMap<JobId, u64>,
    projects: HashMap<ProjectId, u64>,
    host: u64,
}

impl HeldBytes {
    /// Nothing is held.
    pub fn new(limits: &Limits) -> Self {
        let limits = [limits.held_bytes_per_job, limits.held_bytes_per_project, limits.held_bytes];
        let (jobs, projects) = (HashMap::new(), HashMap::new());
        Self(Arc::new(Mutex::new(Account { limits, jobs, projects, host: 0 })))
    }

    /// Takes bytes from every budget that they count in, or from none.
    pub fn take(&self, holder: Holder, bytes: u64) -> Result<Held, Exceeded> {
        self.0.lock().add(holder, bytes)?;
        Ok(Held { account: self.clone(), holder, bytes })
    }

    /// Bytes that the host holds.
    pub fn total(&self) -> u64 {
        self.0.lock().host
    }
}

impl Account {
    fn add(&mut self, holder: Holder, bytes: u64) -> Result<(), Exceeded> {
        let [job, project, host] = self.limits;
        let of_job = holder.job.and_then(|job| self.jobs.get(&job).copied()).unwrap_or(0);
        let of_project = self.projects.get(&holder.project).copied().unwrap_or(0);
        let all = [
            (Budget::Job, of_job, if holder.job.is_some() { job } else { u64::MAX }),
            (Budget::Project, of_project, project),
            (Budget::Host, self.host, host),
        ];
        // What can never fit is said first: no waiting helps.
        let over = |(budget, held, limit): (Budget, u64, u64)| {
            (bytes > limit.saturating_sub(held)).then_some(Exceeded { budget, asked: bytes, held, limit })
        };
        let exceeded: Vec<Exceeded> = all.into_iter().filter_map(over).collect();
        if let Some(first) = exceeded.iter().find(|one| one.is_final()).or(exceeded.first()) {
            return Err(*first);
        }
        if let Some(job) = holder.job {
            *self.jobs.entry(job).or_default() += bytes;
        }
        *self.projects.entry(holder.project).or_default() += bytes;
        self.host += bytes;
        Ok(())
    }

    fn give_back(&mut self, holder: Holder, bytes: u64) {
        if let Some(job) = holder.job {
            subtract(&mut self.jobs, job, bytes);
        }
        subtract(&mut self.projects, holder.project, bytes);
        self.host -= bytes;
    }
}

/// Takes bytes off an entry, and the entry away with the last of them.
fn subtract<K: Eq + Hash + Copy>(entries: &mut HashMap<K, u64>, key: K, bytes: u64) {
    if let Some(held) = entries.get_mut(&key) {
        *held -= bytes;
        if *held == 0 {
            entries.remove(&key);
        }
    }
}

/// Bytes that are held; they go back when this is dropped.
#[derive(Debug)]
pub struct Held {
    account: HeldBytes,
    holder: Holder,
    bytes: u64,
}

impl Held {
    /// How many.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Takes more bytes for the same holder.
    pub fn beside(&self, bytes: u64) -> Result<Self, Exceeded> {
        self.account.take(self.holder, bytes)
    }

    /// Gives back what turned out not to be needed.
    pub fn shrink_to(&mut self, bytes: u64) {
        let surplus = self.bytes.saturating_sub(bytes);
        self.bytes -= surplus;
        self.account.0.lock().give_back(self.holder, surplus);
    }

    /// Cuts some of them off, to be held by someone else.
    pub fn split_off(&mut self, bytes: u64) -> Self {
        let cut = bytes.min(self.bytes);
        self.bytes -= cut;
        Self { account: self.account.clone(), holder: self.holder, bytes: cut }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.account.0.lock().give_back(self.holder, self.bytes);
    }
}

/// Forwards of a job that are retained at once, where the values of all its adapter sets take so many bytes: at least the newest.
pub fn retained_forwards(values: u64, job_budget: u64) -> u64 {
    (job_budget / PINNED_PART / values.max(1)).clamp(1, MOST_FORWARDS)
}

/// Bytes of all adapter sets' values.
pub fn values_bytes(sets: usize, parameters: usize) -> u64 {
    (sets as u64).saturating_mul(parameters as u64).saturating_mul(Dtype::F32.size() as u64)
}

/// Bytes that an open session holds at most, where the values of all its sets take so many: its own and those that a call replaces them
/// by, what retained forwards pin, and a snapshot; in host custody also the moments and the summed gradients, four tensors in a snapshot.
pub fn session_bytes(custody: Custody, values: u64, job_budget: u64) -> u64 {
    let copies = match custody {
        Custody::Client => 2 + 1,
        Custody::Host => 2 + 3 + 4,
    };
    values.saturating_mul(copies + retained_forwards(values, job_budget))
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn account() -> HeldBytes {
        let limits =
            Limits { held_bytes_per_job: 100, held_bytes_per_project: 150, held_bytes: 200, ..Limits::default() };
        HeldBytes::new(&limits)
    }

    fn holder(project: u128, job: Option<u128>) -> Holder {
        Holder { project: ProjectId(Uuid::from_u128(project)), job: job.map(|job| JobId(Uuid::from_u128(job))) }
    }

    #[test]
    fn each_budget_is_kept_and_named() {
        let account = account();
        let budget_of = |holder, bytes| account.take(holder, bytes).map(|held| held.bytes()).map_err(|e| e.budget);
        let first = account.take(holder(1, Some(1)), 80).expect("fits");
        assert_eq!(budget_of(holder(1, Some(1)), 21), Err(Budget::Job));
        assert_eq!(budget_of(holder(1, Some(1)), 20), Ok(20));
        assert_eq!(budget_of(holder(1, Some(2)), 71), Err(Budget::Project));
        assert_eq!(budget_of(holder(1, None), 70), Ok(70));
        let _second = account.take(holder(2, None), 100).expect("fits");
        assert_eq!(budget_of(holder(2, None), 21), Err(Budget::Host));
        drop(first);
        assert_eq!((account.total(), budget_of(holder(1, Some(1)), 100)), (100, Ok(100)));
    }

    #[test]
    fn what_never_fits_says_so_even_where_another_budget_is_full() {
        let account = account();
        let _all = account.take(holder(1, Some(1)), 100).expect("fits");
        let exceeded = account.take(holder(1, Some(1)), 180).expect_err("too large");
        assert!(exceeded.is_final());
        assert_eq!(exceeded.to_string(), "180 bytes, and limits.held_bytes_per_job is 100");
        let exceeded = account.take(holder(1, Some(1)), 1).expect_err("full");
        assert_eq!(exceeded.to_string(), "1 bytes beside the 100 that are held, and limits.held_bytes_per_job is 100");
        let _more = account.take(holder(2, None), 90).expect("fits");
        let exceeded = account.take(holder(3, None), 20).expect_err("full");
        assert_eq!(exceeded.to_string(), "20 bytes more than others leave of limits.held_bytes, which is 200");
    }

    #[test]
    fn parts_go_back_one_by_one_and_nothing_is_left() {
        let account = account();
        let mut held = account.take(holder(1, Some(1)), 90).expect("fits");
        let cut = held.split_off(40);
        held.shrink_to(30);
        assert_eq!((held.bytes(), cut.bytes(), account.total()), (30, 40, 70));
        drop(held);
        assert_eq!(account.total(), 40);
        drop(cut);
        let account = account.0.lock();
        assert!(account.host == 0 && account.jobs.is_empty() && account.projects.is_empty());
    }

    #[test]
    fn large_adapters_pin_fewer_forwards() {
        assert_eq!([1, 100, 200, 10_000].map(|values| retained_forwards(values, 8_000)), [8, 8, 5, 1]);
        assert_eq!(session_bytes(Custody::Client, 100, 8_000), 1100);
        assert_eq!(session_bytes(Custody::Host, 10_000, 8_000), 100_000);
    }
}
