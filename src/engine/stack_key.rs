//! Which forwards may share a pass, and how many are to be expected. Owns the rule; must never run one.
//!
//! A pass runs on one backbone, ends at one cut, and either keeps a graph or does not. Within it every row meets its own forward's
//! adapters only: as one of several owners where the family can tell rows apart, or because all rows have the same adapters.

use std::time::Duration;

use crate::domain::settings::Pooling;
use crate::engine::adapter_values::AdapterValues;
use crate::engine::adapter_values::ValuesId;
use crate::engine::backbones::BackboneId;
use crate::engine::device_state::DeviceState;
use crate::engine::passes::ReadyForward;
use crate::engine::session::Session;

/// A job that trained nothing for so long is not waited for.
const ACTIVE: Duration = Duration::from_secs(1);

/// What forwards must have in common to share a pass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StackKey {
    pass: PassKind,
    adapters: Adapters,
}

/// What a pass has but one of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct PassKind {
    backbone: BackboneId,
    cut: Pooling,
    /// Whether it keeps a graph.
    trains: bool,
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
        // A large forward fills the products by itself.
        if call.tokens() > most_tokens {
            return None;
        }
        let adapters = if call.inputs.sets.is_empty() {
            // Without sets a training forward has no graph, and without the bare backbone there is nothing to run.
            if trains || !call.base {
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
        Some(Self::new(session, trains, adapters))
    }

    fn new(session: &Session, trains: bool, adapters: Adapters) -> Self {
        let pass = PassKind { backbone: session.backbone.id, cut: session.settings.cut(), trains };
        Self { pass, adapters }
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
        let trains = self.pass.trains;
        let admits_bare = self.admits(&Self::new(session, trains, Adapters::Bare));
        let admits_adapted = self.admits(&Self::new(session, trains, Adapters::met_by(session, &session.values)));
        let is_training = admits_adapted && session.trained_at.elapsed() < ACTIVE;
        let mut evaluations = 0;
        if admits_bare && !trains {
            evaluations += session.pending.count(true);
        }
        if admits_adapted && !trains {
            evaluations += session.pending.count(false);
        }
        evaluations.max(usize::from(is_training))
    }
}

impl Adapters {
    fn met_by(session: &Session, values: &AdapterValues) -> Self {
        if session.backbone.stacks() { Self::Owned(session.plan.fingerprint) } else { Self::Common(values.id()) }
    }
}
