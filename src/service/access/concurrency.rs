//! Work of a project in flight at once. Owns the count of it in this process.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::Mutex;

use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::Semaphore;

use crate::domain::ids::ProjectId;
use crate::service::context::locked;

/// So many places for each project.
pub struct Permits {
    places: usize,
    taken: Mutex<HashMap<ProjectId, Arc<Semaphore>>>,
}

impl Permits {
    /// None taken.
    pub fn new(places: usize) -> Self {
        Self { places, taken: Mutex::default() }
    }

    /// Takes a place of the project until the permit is dropped; `None` when all are taken.
    pub fn take(&self, project: ProjectId) -> Option<OwnedSemaphorePermit> {
        let new = || Arc::new(Semaphore::new(self.places));
        let places = Arc::clone(locked(&self.taken).entry(project).or_insert_with(new));
        places.try_acquire_owned().ok()
    }
}
