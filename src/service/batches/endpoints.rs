//! Who answers a request of a batch. Owns what the worker asks of the live endpoints: their checks, their answers and their words, for a
//! request that nobody waits for. Must never know how they are written down.

use futures::future::BoxFuture;

use crate::domain::batch::BatchEndpoint;
use crate::domain::ids::ProjectId;
use crate::service::context::Result;
use crate::service::error::ServiceError;
use crate::store::usage::Amounts;

/// A request.
#[derive(Debug, Clone)]
pub struct LineCall {
    /// Whose it is.
    pub project: ProjectId,
    /// What it is sent to.
    pub endpoint: BatchEndpoint,
    /// What is sent: JSON.
    pub body: Vec<u8>,
}

/// What a request used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Used {
    /// Name of the model.
    pub model: String,
    /// How much.
    pub amounts: Amounts,
}

/// An answer, as a live call would get it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LineAnswer {
    /// The status that says how it went.
    pub status: u16,
    /// The body: JSON.
    pub body: Vec<u8>,
    /// What it used; `None`: the request was refused.
    pub used: Option<Used>,
}

/// The endpoints that a batch can reach.
pub trait Endpoints: Send + Sync {
    /// Answers a request, or refuses it. An error: it can be neither now, and may be later.
    fn answer(&self, call: LineCall) -> BoxFuture<'_, Result<LineAnswer>>;

    /// Refuses a request for a reason that is not its own.
    fn refuse(&self, reason: ServiceError) -> LineAnswer;
}
