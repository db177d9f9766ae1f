//! The split step: forward, backward, optimizer step, adapters. Owns their order and their idempotency; an answer leaves only
//! after its row is committed. Activations and gradients are never stored past their step, and never in Postgres.

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::OwnedSemaphorePermit;
use uuid::Uuid;

use crate::domain::error_code::ErrorCode;
use crate::domain::ids::ForwardId;
use crate::domain::ids::JobId;
use crate::domain::ids::ProjectId;
use crate::domain::limits::Limits;
use crate::domain::steps::StepKind;
use crate::domain::steps::Verdict;
use crate::domain::steps::judge;
use crate::engine::AdamW;
use crate::engine::BackwardReply;
use crate::engine::EngineError;
use crate::engine::ForwardCall;
use crate::engine::ForwardReply;
use crate::engine::Inputs;
use crate::engine::Metered;
use crate::failpoint;
use crate::instruments;
use crate::instruments::Phase;
use crate::service::access::concurrency::Permits;
use crate::service::access::idempotency::AnswerRecord;
use crate::service::accounting::metering;
use crate::service::accounting::metering::Effect;
use crate::service::accounting::metering::MeteredCall;
use crate::service::accounting::metering::size;
use crate::service::accounting::sent::Sent;
use crate::service::context::Context;
use crate::service::context::Result;
use crate::service::context::commit;
use crate::service::context::lease_lost;
use crate::service::error::ServiceError;
use crate::service::files::row_reader::read_rows;
use crate::service::training::answer::Answer;
use crate::service::training::answer::Timing;
use crate::service::training::answer_size;
use crate::service::training::checkpointing;
use crate::service::training::kept_answers::Outgoing;
use crate::service::training::requests::BackwardRequest;
use crate::service::training::requests::Batch;
use crate::service::training::requests::ForwardRequest;
use crate::service::training::session::Session;
use crate::service::training::sessions::SessionSlot;
use crate::service::training::sessions::Sessions;
use crate::store::files;
use crate::store::ledger::LedgerKind;
use crate::store::steps;
use crate::store::steps::NewStep;
use crate::store::usage::Amounts;

/// An optimizer step, parsed.
#[derive(Debug, Clone)]
pub struct OptimRequest {
    /// Step number.
    pub seq: u64,
    /// AdamW's settings.
    pub adamw: AdamW,
    /// For idempotency and the ledger.
    pub sent: Sent,
}

/// What a step call is, as its row will say.
struct Call<'a> {
    kind: StepKind,
    seq: u64,
    sent: &'a Sent,
    forward: Option<ForwardId>,
    effect: Effect,
}

/// A project's permit for one step call, given back when dropped.
pub struct StepPermit {
    project: ProjectId,
    _permit: OwnedSemaphorePermit,
}

/// Use cases of the data plane.
pub struct Steps {
    pub(super) context: Arc<Context>,
    pub(super) sessions: Arc<Sessions>,
    permits: Permits,
}

impl Steps {
    /// Steps on the sessions of this host.
    pub fn new(context: Arc<Context>, sessions: Arc<Sessions>) -> Self {
        let permits = Permits::new(context.limits.steps_in_flight_per_project);
        Self { context, sessions, permits }
    }

    /// Takes the project's permit for a step, before its body is read into a request.
    pub fn enter(&self, project: ProjectId) -> Result<StepPermit> {
        self.context.activity.touch();
        let most = self.context.limits.steps_in_flight_per_project;
        let refusal =
            || format!("A project may have {most} step calls in flight (limits.steps_in_flight_per_project).");
        let permit = self.permits.take(project);
        let permit = permit.ok_or_else(|| ServiceError::new(ErrorCode::TooManySteps, refusal()))?;
        Ok(StepPermit { project, _permit: permit })
    }

    /// Runs a forward: a training step when it carries a seq, an evaluation otherwise.
    pub async fn forward(&self, permit: StepPermit, job: JobId, request: ForwardRequest) -> Result<Outgoing> {
        let mut slot = self.sessions.open(permit.project, job).await?;
        let answer = match request.seq {
            None => self.evaluate(&mut slot, job, request).await,
            Some(seq) => self.train(&mut slot, job, seq, request).await,
        };
        self.conclude_call(job, &mut slot, answer, false).await
    }

    async fn evaluate(&self, slot: &mut SessionSlot, job: JobId, request: ForwardRequest) -> Result<Outgoing> {
        let session = open(slot)?;
        let run = self.prepare(session, &request).await?;
        let body = session.answers.room_for_body(run.answer_bytes, None)?;
        let (reply, timing) = self.run_forward(session, &request, run, Place::default()).await?;
        let effect = Effect {
            tokens: reply.tokens,
            new_adapters: !request.theta.is_empty(),
            device: timing.device,
            bytes_out: size(&reply.tensors),
        };
        self.record_unnumbered(session, LedgerKind::Evaluate, &request.sent, effect).await?;
        tracing::debug!(job.id = %job, tokens = reply.tokens, "{job} evaluated {} tokens", reply.tokens);
        let ForwardReply { tensors, tokens, truncated, .. } = reply;
        let answer = Answer::Forward { forward: None, seq: None, tokens, truncated, tensors, timing };
        Ok(Outgoing { answer, body })
    }

    async fn train(&self, slot: &mut SessionSlot, job: JobId, seq: u64, request: ForwardRequest) -> Result<Outgoing> {
        let session = open(slot)?;
        let earlier = match self.judge(session, seq, &request.sent).await? {
            Earlier::Answered(answer) => return again(session, seq, answer),
            Earlier::Done { .. } if session.answers.is_lost(seq, session.adapter_version) => return Err(answer_lost()),
            Earlier::Done { forward } => Some(forward.unwrap_or(ForwardId(Uuid::now_v7()))),
            Earlier::Never => None,
        };
        let forward = earlier.unwrap_or(ForwardId(Uuid::now_v7()));
        let run = self.prepare(session, &request).await?;
        let room = session.answers.room_for_call(run.answer_bytes)?;
        let (reply, timing) = self.run_forward(session, &request, run, Place { keep: Some(forward), seq }).await?;
        if earlier.is_none() {
            let call = Call {
                kind: StepKind::Forward,
                seq,
                sent: &request.sent,
                forward: Some(forward),
                effect: Effect {
                    tokens: reply.tokens,
                    new_adapters: !request.theta.is_empty(),
                    device: timing.device,
                    bytes_out: size(&reply.tensors),
                },
            };
            self.record(session, &call).await?;
            session.answers.begin(session.adapter_version);
            session.progress.forward_seq = seq;
        }
        tracing::debug!(job.id = %job, seq, tokens = reply.tokens, "{job} forward {seq}: {} tokens", reply.tokens);
        let ForwardReply { tensors, tokens, truncated, .. } = reply;
        let answer = Answer::Forward { forward: Some(forward), seq: Some(seq), tokens, truncated, tensors, timing };
        Ok(session.answers.keep(seq, request.sent.digest, answer, room))
    }

    /// Reads the inputs of a forward, and says how large its answer can be, before the device is asked.
    async fn prepare(&self, session: &Session, request: &ForwardRequest) -> Result<Prepared> {
        let settings = &session.job.settings;
        let adapters = request.adapters.resolve(settings.adapter_sets)?;
        if session.is_host_custody() && !request.theta.is_empty() {
            let message = "theta: the host holds this job's adapters (custody is host); send none.";
            return Err(ServiceError::new(ErrorCode::ThetaNotAccepted, message).at("theta"));
        }
        let inputs = self.inputs(session, &request.batch).await?;
        let rows = answer_size::rows(&self.context, session, &inputs).await?;
        let tensors = adapters.len() + usize::from(request.base);
        let answer_bytes = answer_size::of_forward(rows, session.info.hidden_size, tensors);
        Ok(Prepared { inputs, adapters, answer_bytes })
    }

    async fn run_forward(
        &self,
        session: &Session,
        request: &ForwardRequest,
        prepared: Prepared,
        place: Place,
    ) -> Result<(ForwardReply, Timing)> {
        let call = ForwardCall {
            keep: place.keep,
            random: (session.job.seed as u64) ^ place.seq.wrapping_mul(0x9e37_79b9_7f4a_7c15),
            inputs: prepared.inputs,
            adapters: prepared.adapters,
            base: request.base,
            theta: request.theta.clone(),
            taps: None,
            payer: None,
        };
        let begun = Instant::now();
        let Metered { answer, device, .. } = self.context.engine.forward(session.job.id, call).await?;
        failpoint::reach("forward_done");
        let kind = if place.keep.is_some() { LedgerKind::Forward } else { LedgerKind::Evaluate };
        Ok((answer, Timing::of(kind, begun, device)))
    }

    async fn inputs(&self, session: &Session, batch: &Batch) -> Result<Inputs> {
        let rows = match batch {
            Batch::Inline(inputs) => {
                check_size(inputs, &self.context.limits)?;
                return Ok(inputs.clone());
            }
            Batch::Rows(rows) => rows,
        };
        let Some(file) = session.job.training_file else {
            let message = "rows: the job has no training_file; send texts or input_ids.";
            return Err(ServiceError::new(ErrorCode::NoTrainingFile, message).at("rows"));
        };
        let found = files::get_for_job(&mut *self.context.connection().await?, session.job.project, file).await?;
        let file =
            found.ok_or_else(|| ServiceError::new(ErrorCode::FileDeleted, "The job's training_file was deleted."))?;
        read_rows(&self.context, &file, rows).await
    }

    /// Runs the vector-Jacobian products of the shares.
    pub async fn backward(&self, permit: StepPermit, job: JobId, request: BackwardRequest) -> Result<Outgoing> {
        let mut slot = self.sessions.open(permit.project, job).await?;
        let answer = self.backward_in(&mut slot, job, request).await;
        self.conclude_call(job, &mut slot, answer, true).await
    }

    async fn backward_in(&self, slot: &mut SessionSlot, job: JobId, request: BackwardRequest) -> Result<Outgoing> {
        let session = open(slot)?;
        let seq = request.seq;
        let earlier = match self.judge(session, seq, &request.sent).await? {
            Earlier::Answered(answer) => return again(session, seq, answer),
            Earlier::Done { .. } if session.is_host_custody() => return Err(answer_lost()),
            earlier => earlier,
        };
        let room = session.answers.room_for_call(answer_size::of_backward(session, request.shares.len()))?;
        let begun = Instant::now();
        failpoint::reach("gradient_received");
        let done = match self.context.engine.backward(job, request.forward, request.shares).await {
            Err(EngineError::NoForward) => return Err(self.no_forward(session, request.forward).await?),
            done => done?,
        };
        let Metered { answer: reply, device, tokens } = done;
        let timing = Timing::of(LedgerKind::Backward, begun, device);
        failpoint::reach("backward_done");
        if matches!(earlier, Earlier::Never) {
            let forward = Some(request.forward);
            let sent = &request.sent;
            let bytes_out = match &reply {
                BackwardReply::Gradients(tensors) => size(tensors),
                BackwardReply::Accumulated(_) => 0,
            };
            let effect = Effect { tokens, device, bytes_out, ..Effect::default() };
            let call = Call { kind: StepKind::Backward, seq, sent, forward, effect };
            self.record(session, &call).await?;
        }
        let answer = match reply {
            BackwardReply::Gradients(tensors) => Answer::Gradients { seq, tensors, timing, tokens },
            BackwardReply::Accumulated(norms) => Answer::Accumulated { seq, norms, timing, tokens },
        };
        Ok(session.answers.keep(seq, request.sent.digest, answer, room))
    }

    /// Tells a forward that a restart lost from one that never was.
    async fn no_forward(&self, session: &Session, forward: ForwardId) -> Result<ServiceError> {
        let seq = session.progress.forward_seq;
        let newest = steps::get(&mut *self.context.connection().await?, session.job.id, seq).await?;
        Ok(match newest.and_then(|step| step.forward) {
            Some(id) if id == forward => ServiceError::new(
                ErrorCode::ForwardLost,
                format!(
                    "The host restarted and lost this forward: send the forward of seq {seq} again, then this backward."
                ),
            )
            .at("forward_id"),
            _ => ServiceError::not_found("forward", forward).at("forward_id"),
        })
    }

    /// Steps AdamW on the accumulated gradients (host custody).
    pub async fn optim_step(&self, project: ProjectId, job: JobId, request: OptimRequest) -> Result<Outgoing> {
        let _permit = self.enter(project)?;
        let mut slot = self.sessions.open(project, job).await?;
        let answer = self.optim_step_in(&mut slot, job, request).await;
        let answer = self.conclude_call(job, &mut slot, answer, true).await;
        if slot.as_ref().is_some_and(|session| session.is_out_of_room) {
            self.sessions.pause_full(job, slot).await?;
        }
        answer
    }

    async fn optim_step_in(&self, slot: &mut SessionSlot, job: JobId, request: OptimRequest) -> Result<Outgoing> {
        let session = open(slot)?;
        if !session.is_host_custody() {
            let message =
                "The client holds this job's adapters (custody is client): step your own optimizer and send theta.";
            return Err(ServiceError::new(ErrorCode::ClientCustody, message));
        }
        let seq = request.seq;
        match self.judge(session, seq, &request.sent).await? {
            Earlier::Answered(answer) => return again(session, seq, answer),
            Earlier::Done { .. } => return Err(answer_lost()),
            Earlier::Never => {}
        }
        let room = session.answers.room_for_call(0)?;
        let Metered { answer: reply, device, .. } = self.context.engine.optim_step(job, request.adamw).await?;
        failpoint::reach("optimizer_done");
        let effect = Effect { new_adapters: true, device, ..Effect::default() };
        let call = Call { kind: StepKind::OptimStep, seq, sent: &request.sent, forward: None, effect };
        self.record(session, &call).await?;
        let due = reply.step - session.durable.step >= self.context.jobs.checkpoint_every_steps
            || session.durable.at.elapsed() >= self.context.jobs.checkpoint_every;
        if due {
            let (kind, record) = (checkpointing::Kind::Automatic, AnswerRecord::none());
            match checkpointing::save(&self.context, session, kind, &record).await {
                // The step is committed, and its answer is the client's; the job must not go further from its checkpoint.
                Err(error) if error.code == ErrorCode::StorageFull => session.is_out_of_room = true,
                saved => drop(saved?),
            }
        }
        let answer = Answer::Stepped {
            seq,
            step: reply.step,
            norms: reply.gradient_norms,
            clipped: reply.clipped_norm,
            durable_step: session.durable.step,
            durable_seq: session.durable.seq,
        };
        Ok(session.answers.keep(seq, request.sent.digest, answer, room))
    }

    /// Whether the call was made before, by the rule of `domain::steps`.
    async fn judge(&self, session: &Session, seq: u64, sent: &Sent) -> Result<Earlier> {
        let stored = session.answers.get(seq);
        let row = match stored {
            None if seq > 0 && seq < session.progress.next_seq => {
                steps::get(&mut *self.context.connection().await?, session.job.id, seq).await?
            }
            _ => None,
        };
        let known = stored.map(|(digest, _)| digest).or(row.as_ref().map(|row| &row.digest));
        match judge(session.progress, seq, &sent.digest, known)? {
            Verdict::Apply => Ok(Earlier::Never),
            Verdict::Repeat => Ok(match stored {
                Some((_, answer)) => Earlier::Answered(answer.clone()),
                None => Earlier::Done { forward: row.and_then(|row| row.forward) },
            }),
        }
    }

    /// Commits a step: its row, its ledger entry and the job's counters in one transaction.
    async fn record(&self, session: &mut Session, call: &Call<'_>) -> Result<()> {
        let new = NewStep {
            job: session.job.id,
            seq: call.seq,
            attempt: session.attempt,
            kind: call.kind,
            digest: &call.sent.digest,
            forward: call.forward,
            // A job's own count is of what it trained on, which a backward reads again.
            tokens: if call.kind == StepKind::Forward { call.effect.tokens as u64 } else { 0 },
            optimizer_steps: u64::from(call.kind == StepKind::OptimStep),
            new_adapters: call.effect.new_adapters,
        };
        let begun = Instant::now();
        let mut transaction = self.context.begin().await?;
        steps::commit(&mut transaction, &new).await.map_err(lost)?;
        let kind = match call.kind {
            StepKind::Forward => LedgerKind::Forward,
            StepKind::Backward => LedgerKind::Backward,
            StepKind::OptimStep => LedgerKind::OptimStep,
        };
        let training_tokens = call.effect.tokens as i64;
        let amounts = Amounts { steps: 1, training_tokens, ..call.effect.amounts(call.sent.bytes) };
        let metered = MeteredCall { kind, seq: Some(call.seq), sent: call.sent };
        metering::write(&mut transaction, &session.job, &metered, &amounts).await?;
        failpoint::reach("step_written");
        commit(transaction).await?;
        instruments::step(kind.as_str(), Phase::Commit, begun.elapsed());
        failpoint::reach("step_committed");
        session.progress.next_seq = call.seq + 1;
        if call.effect.new_adapters {
            session.adapter_version += 1;
        }
        Ok(())
    }

    /// Commits a call that is no numbered step: its ledger entry, what it used, and the job's adapter version.
    pub(super) async fn record_unnumbered(
        &self,
        session: &mut Session,
        kind: LedgerKind,
        sent: &Sent,
        effect: Effect,
    ) -> Result<()> {
        let mut transaction = self.context.begin().await?;
        steps::touch(&mut transaction, session.job.id, session.attempt, effect.new_adapters).await.map_err(lost)?;
        let amounts = Amounts { inference_tokens: effect.tokens as i64, ..effect.amounts(sent.bytes) };
        let metered = MeteredCall { kind, seq: None, sent };
        metering::write(&mut transaction, &session.job, &metered, &amounts).await?;
        commit(transaction).await?;
        session.adapter_version += i64::from(effect.new_adapters);
        Ok(())
    }

    /// After a call: notes the time, and forgets a session that the engine or the lease has lost. A write that failed after
    /// the engine changed its state (`changes_state`, host custody) forgets it too: the checkpoint is the truth.
    async fn conclude_call(
        &self,
        job: JobId,
        slot: &mut SessionSlot,
        answer: Result<Outgoing>,
        changes_state: bool,
    ) -> Result<Outgoing> {
        let Some(session) = slot.as_mut() else { return answer };
        session.last_used = Instant::now();
        self.context.activity.touch();
        if let Err(error) = &answer {
            let half_done = changes_state && session.is_host_custody() && error.is_of_the_host();
            let lost = matches!(error.code, ErrorCode::SessionLost | ErrorCode::InternalError | ErrorCode::LeaseLost);
            if half_done || lost {
                self.sessions.discard(job, slot).await;
            }
        }
        answer
    }
}

/// What is known of a call that may have been made before.
enum Earlier {
    /// It is new.
    Never,
    /// Its answer is at hand.
    Answered(Answer),
    /// It was done; its answer must be computed again.
    Done { forward: Option<ForwardId> },
}

/// A forward whose inputs were read.
struct Prepared {
    inputs: Inputs,
    adapters: Vec<usize>,
    /// Of its answer's tensors, at most.
    answer_bytes: u64,
}

/// Where a forward stands among a job's steps; nowhere where it evaluates.
#[derive(Default)]
struct Place {
    keep: Option<ForwardId>,
    seq: u64,
}

/// A stored answer once more.
fn again(session: &mut Session, seq: u64, answer: Answer) -> Result<Outgoing> {
    let body = session.answers.room_for_body(answer.bytes(), Some(seq))?;
    Ok(Outgoing { answer, body })
}

/// The session in a slot that was just opened.
pub(super) fn open(slot: &mut SessionSlot) -> Result<&mut Session> {
    slot.as_mut().ok_or_else(|| ServiceError::new(ErrorCode::SessionLost, "The job's session was lost; try again."))
}

fn answer_lost() -> ServiceError {
    ServiceError::new(ErrorCode::AnswerExpired, "This step is done, and its response is no longer stored.").at("seq")
}

fn lost(error: steps::StepWrite) -> ServiceError {
    match error {
        steps::StepWrite::Store(error) => error.into(),
        _ => lease_lost(),
    }
}

/// Refuses a batch that is larger than any pass, before it is copied.
fn check_size(inputs: &Inputs, limits: &Limits) -> Result<()> {
    let Inputs::Tokens { ids, .. } = inputs else { return Ok(()) };
    let (tokens, limit) = (ids.iter().map(Vec::len).sum::<usize>(), limits.batch_tokens);
    if tokens > limit {
        let message = format!("{tokens} tokens in one forward, batch_tokens is {limit}");
        return Err(EngineError::TooLarge(message).into());
    }
    Ok(())
}
