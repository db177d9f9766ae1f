//! Requests that must be carried out once, however often they are sent. A request that is being carried out is a reservation; its
//! answer is a row, which the use case writes in the transaction of what it changes.
//!
//! Invariants: (1) where a change is committed, so is the answer to the request that made it, and where it is not, neither is: no crash
//! lies in between, and nobody has to be declared dead. (2) On one host a repeat waits for the reservation, without a connection of
//! the pool. (3) Two hosts may carry the same request out at once; one of them commits first, the other finds its row, changes
//! nothing and gives the first answer. Must never know what a request does.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::Weak;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::OwnedMutexGuard;

use crate::domain::error_code::ErrorCode;
use crate::domain::ids::ProjectId;
use crate::service::context::Context;
use crate::service::context::Result;
use crate::service::error::ServiceError;
use crate::store::Connection;
use crate::store::idempotency;
use crate::store::idempotency::IdempotencyRecord;
use crate::store::idempotency::RequestKey;

/// Answers are kept for this long.
const RETENTION: Duration = Duration::from_secs(24 * 3600);
/// A stock client's silent retry comes within this time.
const SILENT_RETRY_WINDOW: Duration = Duration::from_secs(600);
/// A repeat waits this long for the first attempt.
const LONGEST_WAIT: Duration = Duration::from_secs(20);

/// How a request says that it may be a repeat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repeat {
    /// By an Idempotency-Key: the same key is the same request.
    Named,
    /// By the stock client's retry count, above zero: a retry of the newest request with this body.
    SilentRetry,
    /// By the stock client's retry count of zero: a new request, whatever came before. Its retries may follow.
    SilentFirst,
}

impl Repeat {
    /// How old an answer may be to count.
    fn window(self) -> Duration {
        match self {
            Self::Named => RETENTION,
            Self::SilentRetry => SILENT_RETRY_WINDOW,
            Self::SilentFirst => Duration::ZERO,
        }
    }
}

/// Hash of a request's body. That of a form comes with its last part, since a form is too large to be read before it is handled.
#[derive(Debug, Clone, Default)]
pub struct BodyHash(Arc<OnceLock<[u8; 32]>>);

impl BodyHash {
    /// Of a body that was read.
    pub fn of(hash: [u8; 32]) -> Self {
        Self(Arc::new(OnceLock::from(hash)))
    }

    /// Says what it is, once: a body has one end.
    pub fn set(&self, hash: [u8; 32]) {
        self.0.get_or_init(|| hash);
    }

    fn get(&self) -> Option<&[u8; 32]> {
        self.0.get()
    }
}

/// Stands for the hash of a form whose end has not come.
const NOT_READ: [u8; 32] = [0; 32];

/// The request as it is told from others.
#[derive(Debug, Clone)]
pub struct IdempotencyKey {
    /// The tenant.
    pub project: ProjectId,
    /// Hash over key, route and name (or body).
    pub token: [u8; 32],
    /// Hash of the body.
    pub body: BodyHash,
    /// How it says that it may be a repeat.
    pub repeat: Repeat,
}

impl IdempotencyKey {
    fn request(&self) -> RequestKey<'_> {
        RequestKey { project: self.project, token: &self.token, body: self.body.get().unwrap_or(&NOT_READ) }
    }

    /// What an answer is written under: a use case that has changed something has read the whole body.
    fn whole(&self) -> Result<RequestKey<'_>> {
        match self.body.get() {
            Some(_) => Ok(self.request()),
            None => Err(ServiceError::internal("a form was carried out before its end")),
        }
    }
}

/// An answer that was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GivenAnswer {
    /// The status.
    pub status: u16,
    /// The body; empty where it showed a secret.
    pub body: Vec<u8>,
}

/// What becomes of a request.
pub enum Reserved {
    /// Carry it out.
    New(Reservation),
    /// It was answered before, or another under its name.
    Answered(Earlier),
}

/// An answer that was given under the name of this request.
pub struct Earlier {
    record: IdempotencyRecord,
    key: IdempotencyKey,
}

impl Earlier {
    /// The answer, where the bodies are the same. To be asked once the body was read.
    pub fn answer(self) -> Result<GivenAnswer> {
        answered(self.record, &self.key)
    }
}

/// What came of writing the answer down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    /// It is in the transaction.
    Recorded,
    /// Another host answered the request first.
    AnsweredElsewhere,
}

/// A request that is being carried out on this host. Copies are of the same one; repeats wait until the last is dropped.
#[derive(Clone)]
pub struct Reservation(Arc<Reserving>);

struct Reserving {
    key: IdempotencyKey,
    outcome: OnceLock<Outcome>,
    /// `None` for a silent first attempt beside another: the retries wait for the other.
    _turn: Option<OwnedMutexGuard<()>>,
}

impl Reservation {
    /// Writes the answer down in the transaction of what the request changed. Refused when another host was faster: then the
    /// transaction must not be committed.
    async fn record(&self, connection: &mut Connection, answer: &[u8]) -> Result<()> {
        let is_first = idempotency::insert(connection, &self.0.key.whole()?, SUCCESS, answer).await?;
        // A silent first attempt is a new request even where another is answered: it goes on, and its retries find the other's.
        let outcome = if is_first || self.0.key.repeat == Repeat::SilentFirst {
            Outcome::Recorded
        } else {
            Outcome::AnsweredElsewhere
        };
        self.0.outcome.get_or_init(|| outcome);
        if outcome == Outcome::AnsweredElsewhere {
            let message = "The same request is being carried out by another host; try again.";
            return Err(ServiceError::new(ErrorCode::RequestInProgress, message));
        }
        Ok(())
    }

    /// Whether another host's answer is the one to give.
    pub fn is_answered_elsewhere(&self) -> bool {
        self.0.outcome.get() == Some(&Outcome::AnsweredElsewhere)
    }
}

/// Status of every answer that a use case writes down: a refusal changes nothing, and is not kept.
const SUCCESS: u16 = 200;

/// How the answer to a request is made of what the request made.
type Encode<T> = Box<dyn Fn(&T) -> Result<Vec<u8>> + Send + Sync>;

/// What a use case needs to write its answer down in its own transaction: the reservation, where the request has one, and the words of
/// the answer, which are the API's.
pub struct AnswerRecord<T>(Option<(Reservation, Encode<T>)>);

impl<T> AnswerRecord<T> {
    /// For a call that is no request, or one that cannot be told from others.
    pub fn none() -> Self {
        Self(None)
    }

    /// Written as `encode` says; an empty answer stands for one that showed a secret.
    pub fn new(
        reservation: Option<Reservation>,
        encode: impl Fn(&T) -> Result<Vec<u8>> + Send + Sync + 'static,
    ) -> Self {
        Self(reservation.map(|reservation| (reservation, Box::new(encode) as Encode<T>)))
    }

    /// Writes the answer down. The last thing before the commit: what it is made of must not change any more.
    pub async fn write(&self, connection: &mut Connection, made: &T) -> Result<()> {
        match &self.0 {
            Some((reservation, encode)) => reservation.record(connection, &encode(made)?).await,
            None => Ok(()),
        }
    }
}

/// Use cases on repeated requests.
pub struct Idempotency {
    context: Arc<Context>,
    /// Whose turn it is, by token: one attempt at a time on this host.
    turns: Mutex<HashMap<[u8; 32], Weak<tokio::sync::Mutex<()>>>>,
}

impl Idempotency {
    /// None under way.
    pub fn new(context: Arc<Context>) -> Self {
        Self { context, turns: Mutex::default() }
    }

    /// Reserves a request, or finds its answer; waits for an attempt that is under way on this host.
    pub async fn reserve(&self, key: IdempotencyKey) -> Result<Reserved> {
        let turn = self.turn(&key).await?;
        let mut connection = self.context.connection().await?;
        idempotency::expire(&mut connection, &key.request(), key.repeat.window()).await?;
        match idempotency::get(&mut connection, &key.request(), key.repeat.window()).await? {
            Some(record) => Ok(Reserved::Answered(Earlier { record, key })),
            None => Ok(Reserved::New(Reservation(Arc::new(Reserving { key, outcome: OnceLock::new(), _turn: turn })))),
        }
    }

    async fn turn(&self, key: &IdempotencyKey) -> Result<Option<OwnedMutexGuard<()>>> {
        let turn = self.turn_of(&key.token);
        if key.repeat == Repeat::SilentFirst {
            return Ok(turn.try_lock_owned().ok());
        }
        let waited = tokio::time::timeout(LONGEST_WAIT, turn.lock_owned()).await;
        waited.map(Some).map_err(|_| {
            let message = "The same request is still being carried out; try again.";
            ServiceError::new(ErrorCode::RequestInProgress, message)
        })
    }

    fn turn_of(&self, token: &[u8; 32]) -> Arc<tokio::sync::Mutex<()>> {
        let mut turns = self.turns.lock();
        if let Some(turn) = turns.get(token).and_then(Weak::upgrade) {
            return turn;
        }
        turns.retain(|_, turn| turn.strong_count() > 0);
        let turn = Arc::new(tokio::sync::Mutex::new(()));
        turns.insert(*token, Arc::downgrade(&turn));
        turn
    }

    /// The answer that another host gave, after this one's attempt came second.
    pub async fn given(&self, reservation: &Reservation) -> Result<Option<GivenAnswer>> {
        let key = &reservation.0.key;
        let mut connection = self.context.connection().await?;
        let known = idempotency::get(&mut connection, &key.request(), RETENTION).await?;
        known.map(|record| answered(record, key)).transpose()
    }

    /// Writes down the answer of a request that changed nothing in a transaction of its own, unless its use case has written it.
    pub async fn keep(&self, reservation: &Reservation, answer: &GivenAnswer) -> Result<()> {
        if reservation.0.outcome.get().is_some() {
            return Ok(());
        }
        let mut connection = self.context.connection().await?;
        idempotency::insert(&mut connection, &reservation.0.key.whole()?, answer.status, &answer.body).await?;
        Ok(())
    }

    /// Forgets what is older than a day.
    pub async fn sweep(&self) -> Result<u64> {
        Ok(idempotency::sweep(&mut *self.context.connection().await?, RETENTION).await?)
    }
}

fn answered(record: IdempotencyRecord, key: &IdempotencyKey) -> Result<GivenAnswer> {
    if key.body.get().is_none_or(|body| record.body != body) {
        let message = "This Idempotency-Key was used with another body; use a new key for a new request.";
        return Err(ServiceError::new(ErrorCode::IdempotencyConflict, message).at("Idempotency-Key"));
    }
    Ok(GivenAnswer { status: record.status.cast_unsigned(), body: record.answer })
}
