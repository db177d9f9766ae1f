//! Work of a project in flight at once. Owns the count of it in this process.

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

    /// Takes a permit of the project, given back when dropped; `None` when all are taken.
    pub fn take(&self, project: ProjectId) -> Option<OwnedSemaphorePermit> {
        let new = || Arc::new(Semaphore::new(self.most));
        let permits = Arc::clone(self.taken.lock().entry(project).or_insert_with(new));
        permits.try_acquire_owned().ok()
    }
}
