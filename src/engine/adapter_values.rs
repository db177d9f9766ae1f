//! The adapter values of a session, and which of them are the job's own. The one owner of what the device holds: who asks for a set
//! is answered or refused here. Values are replaced, never changed in place: a live graph keeps those that it was made of.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;

use tch::Device;
use tch::Tensor;

use crate::domain::held_bytes::values_bytes;
use crate::domain::tensor::Dtype;
use crate::domain::tensor::WireTensor;
use crate::engine::codec::to_tensor;
use crate::engine::codec::to_wire;
use crate::engine::errors::invalid;
use crate::engine::interface::EngineError;
use crate::engine::interface::Place;

/// Tells values apart: equal for the same values only, also after one of them is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ValuesId(u64);

impl ValuesId {
    fn next() -> Self {
        // A counter of the process: tests run several engines.
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

/// Adapter values of all sets.
#[derive(Debug)]
pub struct AdapterValues {
    id: ValuesId,
    theta: Tensor,
    /// By set: whether its values stand in for others that only the client has.
    lost: Vec<bool>,
}

impl AdapterValues {
    /// The values of a job, `[n, P]`.
    pub fn new(theta: Tensor) -> Self {
        let sets = theta.size().first().map_or(0, |&sets| sets as usize);
        Self { id: ValuesId::next(), theta, lost: vec![false; sets] }
    }

    /// The same tensor, with no set that is the job's own until its values are sent.
    pub fn lose_all(&self) -> Self {
        Self { id: ValuesId::next(), theta: self.theta.shallow_clone(), lost: vec![true; self.sets()] }
    }

    /// Which values these are.
    pub fn id(&self) -> ValuesId {
        self.id
    }

    /// `[n, P]`.
    pub fn theta(&self) -> &Tensor {
        &self.theta
    }

    /// Where they are.
    pub fn device(&self) -> Device {
        self.theta.device()
    }

    /// Bytes of all sets.
    pub fn bytes(&self) -> u64 {
        values_bytes(self.sets(), self.parameters())
    }

    /// Number n of sets.
    pub fn sets(&self) -> usize {
        self.lost.len()
    }

    /// Length P of a set.
    fn parameters(&self) -> usize {
        self.theta.size().get(1).map_or(0, |&parameters| parameters as usize)
    }

    /// Refuses sets whose values are lost.
    pub fn check_held(&self, sets: impl IntoIterator<Item = usize>) -> Result<(), EngineError> {
        match sets.into_iter().find(|&set| self.lost.get(set).is_some_and(|lost| *lost)) {
            Some(set) => Err(EngineError::AdaptersLost { set }),
            None => Ok(()),
        }
    }

    /// Values in which these sets are replaced, and so the job's own.
    pub fn with_sets(&self, values: &[(usize, WireTensor)]) -> Result<Self, EngineError> {
        let mut rows = self.theta.f_unbind(0)?;
        let mut lost = self.lost.clone();
        for (number, (set, wire)) in values.iter().enumerate() {
            let name = format!("theta.{set}");
            if *set >= self.sets() {
                return Err(invalid(Place::Tensor(name), format!("the job has adapter sets 0 to {}", self.sets() - 1)));
            }
            if values[..number].iter().any(|(other, _)| other == set) {
                return Err(invalid(Place::Tensor(name), "is a duplicate"));
            }
            if wire.shape() != [self.parameters()] || wire.dtype() != Dtype::F32 {
                let dtype = wire.dtype().name();
                let shape = wire.shape();
                return Err(invalid(
                    Place::Tensor(name),
                    format!("is {dtype} {shape:?}, must be F32 [{}]", self.parameters()),
                ));
            }
            rows[*set] = to_tensor(&wire.clone().renamed(name))?.f_to_device(self.device())?;
            lost[*set] = false;
        }
        Ok(Self { id: ValuesId::next(), theta: Tensor::f_stack(&rows, 0)?, lost })
    }

    /// The values of a set, `theta.{set}` `[P]`.
    pub fn set(&self, set: usize) -> Result<WireTensor, EngineError> {
        if set >= self.sets() {
            return Err(invalid(Place::Field("set"), format!("the job has adapter sets 0 to {}", self.sets() - 1)));
        }
        self.check_held([set])?;
        Ok(to_wire(format!("theta.{set}"), &self.theta.f_select(0, set as i64)?)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::Kind;

    fn values() -> AdapterValues {
        AdapterValues::new(Tensor::zeros([2, 3], (Kind::Float, Device::Cpu)))
    }

    fn sent(value: f32) -> WireTensor {
        WireTensor::from_f32("x", vec![3], &[value; 3]).expect("fits")
    }

    #[test]
    fn a_lost_set_is_refused_until_its_values_are_sent() {
        let lost = values().lose_all();
        assert_eq!(lost.check_held([1, 0]), Err(EngineError::AdaptersLost { set: 1 }));
        assert_eq!(lost.set(0), Err(EngineError::AdaptersLost { set: 0 }));
        let sent = lost.with_sets(&[(0, sent(1.0))]).expect("fits");
        assert_eq!(sent.check_held([0]), Ok(()));
        assert_eq!(sent.set(0).expect("is held").floats(), Some(vec![1.0; 3]));
        assert_eq!(sent.check_held([0, 1]), Err(EngineError::AdaptersLost { set: 1 }));
        assert_eq!(lost.check_held([0]), Err(EngineError::AdaptersLost { set: 0 }), "the old values stay as they were");
    }

    #[test]
    fn other_values_have_another_id() {
        let first = values();
        let second = first.with_sets(&[(0, sent(1.0))]).expect("fits");
        assert_ne!(first.id(), second.id());
        assert_ne!(first.id(), values().id());
    }
}
