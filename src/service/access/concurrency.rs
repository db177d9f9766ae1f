//! Work of a project in flight at once. Owns the count of it in this process, and who works on the processor next.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::Semaphore;

use crate::domain::ids::ProjectId;

/// So many permits for each project.
pub struct Permits {
    most: usize,
    taken: Mutex<HashMap<ProjectId, Arc<Semaphore>>>,
}

impl Permits {
    /// None taken.
    pub fn new(most: usize) -> Self {
        Self { most, taken: Mutex::default() }
    }

    /// How many a project may take.
    pub fn most(&self) -> usize {
        self.most
    }

    /// Takes a permit of the project, given back when dropped; `None` when all are taken.
    pub fn take(&self, project: ProjectId) -> Option<OwnedSemaphorePermit> {
        self.of(project).try_acquire_owned().ok()
    }

    fn of(&self, project: ProjectId) -> Arc<Semaphore> {
        let new = || Arc::new(Semaphore::new(self.most));
        Arc::clone(self.taken.lock().entry(project).or_insert_with(new))
    }
}

/// Turns at work for the processor: few at a time, and of one project at most half of them. Whoever waits for others of its own project
/// is not in anybody else's way.
pub struct ProcessorTurns {
    of_projects: Permits,
    of_all: Arc<Semaphore>,
}

/// A turn, over when dropped.
pub struct ProcessorTurn {
    // Nobody closes these: there is always a permit in the end.
    _of_project: Option<OwnedSemaphorePermit>,
    _of_all: Option<OwnedSemaphorePermit>,
}

impl ProcessorTurns {
    /// So many at a time, two at least.
    pub fn new(most: usize) -> Self {
        let most = most.max(2);
        Self { of_projects: Permits::new(most / 2), of_all: Arc::new(Semaphore::new(most)) }
    }

    /// Waits for a turn of the project.
    pub async fn take(&self, project: ProjectId) -> ProcessorTurn {
        let of_project = self.of_projects.of(project).acquire_owned().await.ok();
        let of_all = Arc::clone(&self.of_all).acquire_owned().await.ok();
        ProcessorTurn { _of_project: of_project, _of_all: of_all }
    }
}
