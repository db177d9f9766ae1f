//! The attempts of this host that are under way. Owns who may begin another: a receiver that hangs must not hold up the others,
//! and a project whose receivers all hang must not hold up other projects. Must never send, or look into a message.

use std::collections::HashMap;
use std::hash::Hash;

use tokio::task::Id;
use tokio::task::JoinSet;

use crate::domain::ids::ProjectId;
use crate::domain::ids::WebhookId;

/// Attempts of this host at once, and of them to one webhook.
const MOST: usize = 128;
const MOST_TO_A_WEBHOOK: usize = 4;
/// A project holds fewer than one in so many of the places that are free: alone a fifth of all, and the less the more projects hold
/// theirs, so that however many do, a few places are left for one that holds none.
const FREE_PLACES_FOR_ONE: usize = 4;
/// Messages that are taken together; whoever reaches a bound among them may go over it by the rest.
const MOST_TAKEN: usize = 4;

/// Whose message an attempt sends, and where to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Holder {
    /// The project of the webhook.
    pub project: ProjectId,
    /// The receiver.
    pub webhook: WebhookId,
}

/// What may be taken from the outbox now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Room {
    /// So many messages.
    pub messages: usize,
    /// But none of these projects.
    pub busy_projects: Vec<ProjectId>,
    /// And none to these webhooks.
    pub busy_webhooks: Vec<WebhookId>,
}

/// The attempts under way.
#[derive(Default)]
pub struct Attempts {
    running: JoinSet<()>,
    holders: HashMap<Id, Holder>,
}

impl Attempts {
    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.running.is_empty()
    }

    /// Begins one.
    pub fn begin(&mut self, holder: Holder, attempt: impl Future<Output = ()> + Send + 'static) {
        let id = self.running.spawn(attempt).id();
        self.holders.insert(id, holder);
    }

    /// Waits until one has ended.
    pub async fn one_ended(&mut self) {
        let ended = match self.running.join_next_with_id().await {
            Some(Ok((id, ()))) => id,
            Some(Err(panicked)) => panicked.id(),
            None => return,
        };
        self.holders.remove(&ended);
    }

    /// What may be begun beside them.
    pub fn room(&self) -> Room {
        let holders: Vec<Holder> = self.holders.values().copied().collect();
        room_beside(&holders)
    }
}

fn room_beside(holders: &[Holder]) -> Room {
    let free = MOST.saturating_sub(holders.len());
    Room {
        messages: free.min(MOST_TAKEN),
        busy_projects: holding(holders.iter().map(|holder| holder.project), free.div_ceil(FREE_PLACES_FOR_ONE)),
        busy_webhooks: holding(holders.iter().map(|holder| holder.webhook), MOST_TO_A_WEBHOOK),
    }
}

/// Those that occur so often, or more.
fn holding<T: Copy + Eq + Hash>(all: impl Iterator<Item = T>, bound: usize) -> Vec<T> {
    let mut counts: HashMap<T, usize> = HashMap::new();
    all.for_each(|one| *counts.entry(one).or_default() += 1);
    counts.into_iter().filter(|(_, count)| *count >= bound).map(|(one, _)| one).collect()
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn holder(project: u128, webhook: u128) -> Holder {
        Holder { project: ProjectId(Uuid::from_u128(project)), webhook: WebhookId(Uuid::from_u128(webhook)) }
    }

    /// Projects that each have endless messages to receivers that hang, in turn, until nobody may begin another.
    fn all_hang(projects: u128) -> Vec<Holder> {
        let mut holders: Vec<Holder> = Vec::new();
        loop {
            let before = holders.len();
            for project in 0..projects {
                let room = room_beside(&holders);
                let next = holder(project, project * 1000 + holders.len() as u128);
                if room.messages > 0 && !room.busy_projects.contains(&next.project) {
                    holders.push(next);
                }
            }
            if holders.len() == before {
                return holders;
            }
        }
    }

    #[test]
    fn however_many_projects_hang_another_one_finds_a_place() {
        for projects in [1, 2, 4, 16, 64, 100] {
            let holders = all_hang(projects);
            let room = room_beside(&holders);
            assert!(room.messages > 0, "{projects} projects hold {}", holders.len());
            assert!(!room.busy_projects.contains(&holder(1000, 0).project));
        }
        assert!(all_hang(1).len() <= MOST / 4, "one project holds {}", all_hang(1).len());
    }

    #[test]
    fn a_webhook_is_busy_at_its_own_bound_and_its_project_is_not() {
        let room = room_beside(&[holder(1, 1); MOST_TO_A_WEBHOOK]);
        assert_eq!((room.busy_webhooks, room.busy_projects), (vec![holder(1, 1).webhook], vec![]));
    }

    #[tokio::test]
    async fn an_attempt_gives_its_place_back_also_when_it_panics() {
        let mut attempts = Attempts::default();
        attempts.begin(holder(1, 1), async { panic!("of the test") });
        assert_eq!(attempts.holders.len(), 1);
        attempts.one_ended().await;
        assert!(attempts.is_empty() && attempts.holders.is_empty());
    }
}
