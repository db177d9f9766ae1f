//! Which forwards may share a pass, and how many are to be expected. Owns the rule; must never run one.
//!
//! A pass runs on one backbone, gives activations at one cut or the same hidden states to all, and either keeps a graph or does not. Within it every row meets its own forward's
//! adapters only: as one of several owners where the family can tell rows apart, or because all rows have the same adapters.

use std::sync::Arc;
use std::time::Duration;

use crate::domain::settings::Pooling;
use crate::domain::taps::Taps;
use crate::engine::adapter_values::AdapterValues;
use crate::engine::adapter_values::ValuesId;
use crate::engine::backbones::BackboneId;
use crate::engine::device_state::DeviceState;
use crate::engine::inputs::Evaluation;
use crate::engine::passes::ReadyForward;
use crate::engine::session::Session;
use crate::engine::slices::Sliceable;

/// A job that trained nothing for so long is not waited for.
const ACTIVE: Duration = Duration::from_secs(1);

/// What forwards must have in common to share a pass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StackKey {
    pass: PassKind,
    adapters: Adapters,
}

/// What a pass has but one of.
#[derive(Debug, Clone, PartialEq, Eq)]
struct PassKind {
    backbone: BackboneId,
    gives: Gives,
    /// Whether it keeps a graph.
    trains: bool,
}

/// What a pass gives of each row.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Gives {
    /// Its activations at this cut.
    Activations(Pooling),
    /// These hidden states, whatever the cut.
    Taps(Arc<Taps>),
}

/// Whose adapters the rows of a forward meet.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Adapters {
    /// None: the bare backbone.
    Bare,
    /// Their owner's, of this layout (a plan's fingerprint): values of any job will do, as long as they mean the same.
    Owned(u64),
    /// These values alone: a family whose rows cannot have owners.
    Common(ValuesId),
}

impl StackKey {
    /// The key of a forward that may share a pass; `None` for one that must run alone.
    pub fn of(state: &DeviceState, call: &ReadyForward, most_tokens: usize) -> Option<Self> {
        let session = state.session(call.job).ok()?;
        let trains = call.keep.is_some();
        // A large forward fills the products by itself, and one that is to be alone gives the same bits whatever else there is.
        if call.tokens() > most_tokens || call.taps.as_ref().is_some_and(|taps| taps.alone) {
            return None;
        }
        let adapters = if call.inputs.sets.is_empty() {
            // Without sets a training forward has no graph, and without the bare backbone there is nothing to run.
            if trains || (!call.base && call.taps.is_none()) {
                return None;
            }
            Adapters::Bare
        } else {
            // Backwards need their own rows' gradients, so rows need owners. Dropout's random numbers would depend on what else is in
            // the pass.
            if trains && (!session.backbone.stacks() || session.plan.has_dropout()) {
                return None;
            }
            Adapters::met_by(session, &call.inputs.values)
        };
        let key = Self::activations(session, trains, adapters);
        Some(match &call.taps {
            None => key,
            Some(taps) => Self { pass: PassKind { gives: Gives::Taps(Arc::clone(taps)), ..key.pass }, ..key },
        })
    }

    fn activations(session: &Session, trains: bool, adapters: Adapters) -> Self {
        let gives = Gives::Activations(session.settings.cut());
        Self { pass: PassKind { backbone: session.backbone.id, gives, trains }, adapters }
    }

    /// Whether a forward of the other key may join a pass that one of this key leads. An update of zero is no update: the bare
    /// backbone may be a guest in a pass with owners.
    pub fn admits(&self, other: &Self) -> bool {
        let is_guest = matches!((&self.adapters, &other.adapters), (Adapters::Owned(_), Adapters::Bare));
        self.pass == other.pass && (is_guest || self.adapters == other.adapters)
    }

    /// Forwards that could join a pass of this key, the one that leads it included: as many are worth waiting for.
    pub fn count_compatible(&self, state: &DeviceState) -> usize {
        state.sessions.values().map(|session| self.count_compatible_of(session)).sum()
    }

    /// A session that trains has one forward on its way at most, since its client waits for each; evaluations say that they are pending.
    fn count_compatible_of(&self, session: &Session) -> usize {
        if let Gives::Taps(taps) = &self.pass.gives {
            let is_here = session.backbone.id == self.pass.backbone;
            return if is_here { session.pending.count(&Evaluation::Taps(Arc::clone(taps))) } else { 0 };
        }
        let trains = self.pass.trains;
        let admits_bare = self.admits(&Self::activations(session, trains, Adapters::Bare));
        let adapted = Adapters::met_by(session, &session.values);
        let admits_adapted = self.admits(&Self::activations(session, trains, adapted));
        let is_training = admits_adapted && session.trained_at.elapsed() < ACTIVE;
        let mut evaluations = 0;
        if admits_bare && !trains {
            evaluations += session.pending.count(&Evaluation::Bare);
        }
        if admits_adapted && !trains {
            evaluations += session.pending.count(&Evaluation::Adapted);
        }
        evaluations.max(usize::from(is_training))
    }
}

impl Adapters {
    fn met_by(session: &Session, values: &AdapterValues) -> Self {
        if session.backbone.stacks() { Self::Owned(session.plan.fingerprint) } else { Self::Common(values.id()) }
    }
}
