//! Keys that were checked lately, so that not each request asks the database. Owns how long a check counts, and that a key which was
//! revoked on this host never counts again; must never decide whether a key is valid.

use std::collections::HashMap;
use std::time::Duration;
use std::time::Instant;

use parking_lot::Mutex;

use crate::domain::ids::KeyId;
use crate::domain::principal::Principal;

/// More than this many are forgotten together.
const MOST: usize = 10_000;

/// When a check began: how many revocations there had been on this host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Generation(u64);

/// Checked keys by the hash of their text.
#[derive(Default)]
pub struct CheckedKeys(Mutex<Checked>);

#[derive(Default)]
struct Checked {
    revocations: u64,
    keys: HashMap<[u8; 32], Entry>,
}

struct Entry {
    until: Instant,
    principal: Principal,
}

impl CheckedKeys {
    /// Who holds the key, where that was checked and still counts.
    pub fn get(&self, hash: &[u8; 32]) -> Option<Principal> {
        let checked = self.0.lock();
        let entry = checked.keys.get(hash)?;
        (Instant::now() < entry.until).then(|| entry.principal.clone())
    }

    /// To be asked before the database is.
    pub fn generation(&self) -> Generation {
        Generation(self.0.lock().revocations)
    }

    /// Remembers what a check found that began at `began`, for as long as `keep`. Where a key was revoked meanwhile, the check may have
    /// read the row before that: then it counts for its own request alone.
    pub fn remember(&self, began: Generation, hash: [u8; 32], principal: &Principal, keep: Duration) {
        let mut checked = self.0.lock();
        if checked.revocations != began.0 {
            return;
        }
        if checked.keys.len() >= MOST {
            checked.keys.clear();
        }
        let entry = Entry { until: Instant::now() + keep, principal: principal.clone() };
        checked.keys.insert(hash, entry);
    }

    /// Forgets a key. The revocation is committed by now, so that a check which begins after this finds it.
    pub fn forget(&self, key: KeyId) {
        let mut checked = self.0.lock();
        checked.revocations += 1;
        checked.keys.retain(|_, entry| entry.principal.key != key);
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::domain::ids::ProjectId;
    use crate::domain::quota::Quota;

    const LONG: Duration = Duration::from_secs(3600);

    fn principal(key: u128) -> Principal {
        Principal {
            project: ProjectId(Uuid::nil()),
            key: KeyId(Uuid::from_u128(key)),
            scopes: Default::default(),
            quota: Quota::default(),
            project_quota: Quota::default(),
        }
    }

    #[test]
    fn a_check_that_raced_a_revocation_is_not_remembered() {
        let (keys, revoked, hash) = (CheckedKeys::default(), principal(1), [1; 32]);
        let began = keys.generation();
        keys.forget(revoked.key);
        keys.remember(began, hash, &revoked, LONG);
        assert_eq!(keys.get(&hash), None);
        keys.remember(keys.generation(), [2; 32], &principal(2), LONG);
        assert_eq!(keys.get(&[2; 32]), Some(principal(2)), "later checks are remembered");
        keys.forget(revoked.key);
        assert_eq!(keys.get(&[2; 32]), Some(principal(2)), "and another key's revocation leaves them");
    }

    #[test]
    fn a_check_counts_for_as_long_as_it_was_said() {
        let keys = CheckedKeys::default();
        keys.remember(keys.generation(), [1; 32], &principal(1), Duration::ZERO);
        assert_eq!(keys.get(&[1; 32]), None);
    }
}
