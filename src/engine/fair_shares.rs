//! Whose turn on the device it is among projects: whoever used least of it lately (start-time fair queueing, Goyal, Vin and Cheng
//! 1996, over measured time). Owns what each has used; must never know what a command does.

use std::collections::HashMap;
use std::time::Duration;

use uuid::Uuid;

use crate::domain::ids::ProjectId;

/// In whose name things run that are no project's alone, such as opening a session: it is never charged, so that nobody waits for a
/// backbone that was read for another.
pub const NOBODY: ProjectId = ProjectId(Uuid::nil());

/// What projects used of the device.
#[derive(Debug, Default)]
pub struct FairShares {
    used: HashMap<ProjectId, Duration>,
    /// What whoever was served last had used when its turn began.
    now: Duration,
}

impl FairShares {
    /// What orders the projects: the least goes first. What one did not use before is not saved up: it stands beside those who work now.
    pub fn used(&self, project: ProjectId) -> Duration {
        self.used.get(&project).copied().unwrap_or(self.now)
    }

    /// A project's turn begins.
    pub fn begin(&mut self, project: ProjectId) {
        self.now = self.used(project);
        // The past of the others no longer matters: they stand where one stands that never came.
        let now = self.now;
        self.used.retain(|_, used| *used > now);
    }

    /// A project used the device for so long.
    pub fn charge(&mut self, project: ProjectId, took: Duration) {
        if project == NOBODY {
            return;
        }
        *self.used.entry(project).or_insert(self.now) += took;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAVY: ProjectId = ProjectId(Uuid::from_u128(1));
    const LIGHT: ProjectId = ProjectId(Uuid::from_u128(2));

    fn seconds(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    /// Serves whoever is first of these, for as long as a pass of it takes.
    fn serve(shares: &mut FairShares, waiting: &[ProjectId]) -> ProjectId {
        let next = *waiting.iter().min_by_key(|project| shares.used(**project)).expect("somebody waits");
        shares.begin(next);
        shares.charge(next, if next == HEAVY { seconds(10) } else { seconds(1) });
        next
    }

    #[test]
    fn a_light_project_is_served_next_however_much_waits_before_it() {
        let mut shares = FairShares::default();
        for _ in 0..9 {
            serve(&mut shares, &[HEAVY; 8]);
        }
        assert_eq!(serve(&mut shares, &[HEAVY, HEAVY, LIGHT]), LIGHT);
    }

    #[test]
    fn who_waits_all_the_time_gets_half_of_the_time() {
        let mut shares = FairShares::default();
        let served: Vec<ProjectId> = (0..110).map(|_| serve(&mut shares, &[HEAVY, LIGHT])).collect();
        assert_eq!(served.iter().filter(|project| **project == HEAVY).count(), 10);
    }

    #[test]
    fn nobody_saves_up_for_later() {
        let mut shares = FairShares::default();
        serve(&mut shares, &[LIGHT]);
        for _ in 0..9 {
            serve(&mut shares, &[HEAVY]);
        }
        let run = (0..100).take_while(|_| serve(&mut shares, &[HEAVY, LIGHT]) == LIGHT).count();
        assert!(run <= 11, "{run} turns in a row after a rest");
    }

    #[test]
    fn what_is_nobodys_waits_for_nobody() {
        let mut shares = FairShares::default();
        shares.charge(NOBODY, seconds(50));
        serve(&mut shares, &[HEAVY]);
        assert!(shares.used(NOBODY) < shares.used(HEAVY));
    }

    #[test]
    fn the_past_of_those_who_left_is_forgotten() {
        let mut shares = FairShares::default();
        serve(&mut shares, &[LIGHT]);
        serve(&mut shares, &[HEAVY]);
        serve(&mut shares, &[HEAVY]);
        assert_eq!(shares.used.keys().copied().collect::<Vec<_>>(), [HEAVY]);
    }
}
