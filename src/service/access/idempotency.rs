//! Requests that must be carried out once, however often they are sent. Owns the life of such a request: reserved before the
//! work, answered after it, forgotten when it came to nothing. A repeat waits for the first attempt, and after a crash it
//! makes the same thing under the same id.

use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

use uuid::Uuid;

use crate::domain::error_code::ErrorCode;
use crate::domain::ids::ProjectId;
use crate::service::context::Context;
use crate::service::context::Result;
use crate::service::error::ServiceError;
use crate::store::idempotency;
use crate::store::idempotency::Attempt;
use crate::store::idempotency::Request;

/// Answers are kept for this long.
const KEPT: Duration = Duration::from_secs(24 * 3600);
/// A stock client's silent retry comes within this time.
const SILENT: Duration = Duration::from_secs(600);
/// An attempt that was not heard of for this long died with its host.
const DEAD: Duration = Duration::from_secs(10);
/// A repeat waits this long for the first attempt.
const PATIENCE: Duration = Duration::from_secs(20);
/// And looks this often.
const LOOK: Duration = Duration::from_millis(50);

/// How a request says that it may be a repeat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repeat {
    /// By an Idempotency-Key: the same key is the same request.
    Named,
    /// By the stock client's retry count: the first of them is a new request, whatever came before.
    Silent {
        /// Whether the count is above zero.
        again: bool,
    },
}

/// The request as it is told from others.
#[derive(Debug, Clone, Copy)]
pub struct Once {
    /// The tenant.
    pub project: ProjectId,
    /// Hash over key, route and name (or body).
    pub token: [u8; 32],
    /// Hash of the body.
    pub body: [u8; 32],
}

impl Once {
    fn request(&self) -> Request<'_> {
        Request { project: self.project, token: &self.token, body: &self.body }
    }
}

/// A request that was taken, and must be answered or given up.
#[derive(Debug, Clone, Copy)]
pub struct Ticket {
    once: Once,
    owner: Uuid,
    /// Id of what the request makes.
    pub resource: Uuid,
}

/// What becomes of a request.
#[derive(Debug)]
pub enum Begun {
    /// Carry it out.
    Fresh(Ticket),
    /// Carry it out, and keep no record: the same request is being carried out for somebody else.
    Untracked,
    /// It was answered before.
    Known {
        /// The status.
        status: u16,
        /// The body.
        answer: Vec<u8>,
    },
}

/// Use cases on repeated requests.
pub struct Requests(pub Arc<Context>);

impl Requests {
    /// Takes a request, or finds its answer; waits for an attempt that is under way.
    pub async fn begin(&self, once: Once, repeat: Repeat) -> Result<Begun> {
        let (owner, resource, begun) = (Uuid::new_v4(), Uuid::now_v7(), Instant::now());
        let age = match repeat {
            Repeat::Named => KEPT,
            Repeat::Silent { again: true } => SILENT,
            Repeat::Silent { again: false } => Duration::ZERO,
        };
        let mut connection = self.0.connection().await?;
        idempotency::expire(&mut connection, &once.request(), age).await?;
        loop {
            let Some(known) = idempotency::reserve(&mut connection, &once.request(), (owner, resource)).await? else {
                return Ok(Begun::Fresh(Ticket { once, owner, resource }));
            };
            if let Some(answer) = answered(known, &once)? {
                return Ok(answer);
            }
            if repeat == (Repeat::Silent { again: false }) {
                return Ok(Begun::Untracked);
            }
            if let Some(resource) = idempotency::take_over(&mut connection, &once.request(), owner, DEAD).await? {
                return Ok(Begun::Fresh(Ticket { once, owner, resource }));
            }
            drop(connection);
            if begun.elapsed() > PATIENCE {
                let message = "The same request is still being carried out; try again.";
                return Err(ServiceError::new(ErrorCode::RequestInProgress, message));
            }
            tokio::time::sleep(LOOK).await;
            connection = self.0.connection().await?;
        }
    }

    /// Says again and again that the request is being carried out, so that no repeat takes it over; never ends.
    pub async fn keep(&self, ticket: &Ticket) -> std::convert::Infallible {
        loop {
            tokio::time::sleep(DEAD / 3).await;
            let kept = async {
                let mut connection = self.0.connection().await?;
                Result::Ok(idempotency::keep(&mut connection, &ticket.once.request(), ticket.owner).await?)
            };
            if let Err(error) = kept.await {
                tracing::debug!(%error, "a request under way could not be kept: {error}");
            }
        }
    }

    /// Writes the answer down.
    pub async fn finish(&self, ticket: &Ticket, status: u16, answer: &[u8]) -> Result<()> {
        let mut connection = self.0.connection().await?;
        Ok(idempotency::finish(&mut connection, &ticket.once.request(), ticket.owner, (status, answer)).await?)
    }

    /// Gives the request up: the next one like it is carried out.
    pub async fn abandon(&self, ticket: &Ticket) -> Result<()> {
        let mut connection = self.0.connection().await?;
        Ok(idempotency::abandon(&mut connection, &ticket.once.request(), ticket.owner).await?)
    }

    /// Forgets what is older than a day.
    pub async fn sweep(&self) -> Result<u64> {
        Ok(idempotency::sweep(&mut *self.0.connection().await?, KEPT).await?)
    }
}

fn answered(known: Attempt, once: &Once) -> Result<Option<Begun>> {
    if known.body != once.body {
        let message = "This Idempotency-Key was used with another body; use a new key for a new request.";
        return Err(ServiceError::new(ErrorCode::IdempotencyConflict, message).at("Idempotency-Key"));
    }
    Ok(match (known.status, known.answer) {
        (Some(status), Some(answer)) => Some(Begun::Known { status: status.cast_unsigned(), answer }),
        _ => None,
    })
}
