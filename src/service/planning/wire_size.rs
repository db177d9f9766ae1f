//! About how many bytes the steps of a job take each way: the safetensors bodies that the SDK sends and the host answers, by the codec's
//! own sizes. HTTP's own lines, and the JSON of host custody (norms, optimizer steps), are left out. Must never measure anything.

use std::collections::BTreeMap;

use crate::domain::settings::Custody;
use crate::domain::tensor::Dtype;
use crate::engine::codec::safetensors_bytes;
use crate::service::accounting::holding::body_bytes;
use crate::service::accounting::holding::kept_bytes;
use crate::service::context::Result;

/// One step as it travels.
#[derive(Debug, Clone)]
pub struct StepShape {
    /// Who holds the adapters.
    pub custody: Custody,
    /// Adapter sets.
    pub sets: usize,
    /// Shares of each set's gradient.
    pub shares: usize,
    /// Whether `h.base` is asked for.
    pub base: bool,
    /// Inputs.
    pub batch: usize,
    /// Rows of an activation.
    pub rows: usize,
    /// Tokens of all inputs.
    pub tokens: usize,
    /// Whether the answer has `lengths`.
    pub lengths: bool,
    /// Width of an activation.
    pub hidden: usize,
    /// Length of a set's flat vector.
    pub parameters: usize,
}

type Named = (String, Dtype, Vec<usize>);

/// Bytes of all steps of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RunBytes {
    /// Bodies of requests.
    pub up: u64,
    /// Bodies of answers.
    pub down: u64,
}

/// Bytes of so many steps. An answer carries its `seq` as text; each is priced with that of the run's last call, the longest. A header is
/// padded to a multiple of 8, so an answer is priced at most 8 bytes too high in runs of up to 10^9 calls (docs/adr/0004); and at most 8 too
/// low, where ten or more of its texts are too long.
pub fn bytes_of_run(shape: &StepShape, steps: u64) -> Result<RunBytes> {
    let last_seq = (shape.calls() * steps).to_string();
    let up = size(shape.forward_sent(), &[])? + size(shape.backward_sent(), &[])?;
    let forward = size(shape.forward_answered(), &shape.forward_scalars(&last_seq))?;
    let backward = match shape.custody {
        Custody::Client => size(shape.backward_answered(), &[("seq", last_seq)])?,
        Custody::Host => 0, // norms, in JSON
    };
    Ok(RunBytes { up: steps * up, down: steps * (forward + backward) })
}

fn size(tensors: Vec<Named>, scalars: &[(&str, String)]) -> Result<u64> {
    let described: Vec<_> =
        tensors.iter().map(|(name, dtype, shape)| (name.as_str(), *dtype, shape.as_slice())).collect();
    let metadata: BTreeMap<String, String> =
        scalars.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
    Ok(safetensors_bytes(&described, &metadata)?)
}

impl StepShape {
    /// Bytes that a step's answers hold, at most: those that are kept for repeats, and the larger one on its way out.
    pub fn held_bytes(&self) -> u64 {
        let floats = |count: usize| (count * Dtype::F32.size()) as u64;
        let forward = floats(self.rows * self.hidden * (self.sets + usize::from(self.base)))
            + if self.lengths { (self.batch * Dtype::I64.size()) as u64 } else { 0 };
        let backward = match self.custody {
            Custody::Client => floats(self.sets * self.shares * self.parameters),
            Custody::Host => 0,
        };
        let others = kept_bytes(0) * (self.calls() - 2);
        kept_bytes(forward) + kept_bytes(backward) + others + body_bytes(forward.max(backward))
    }

    /// Numbered calls of a step.
    fn calls(&self) -> u64 {
        match self.custody {
            Custody::Client => 2,
            Custody::Host => 3,
        }
    }

    fn forward_sent(&self) -> Vec<Named> {
        let mut tensors = vec![("rows".to_owned(), Dtype::I64, vec![self.batch])];
        if self.custody == Custody::Client {
            tensors.extend((0..self.sets).map(|set| (format!("theta.{set}"), Dtype::F32, vec![self.parameters])));
        }
        tensors
    }

    fn forward_answered(&self) -> Vec<Named> {
        let width = vec![self.rows, self.hidden];
        let mut tensors = Vec::new();
        if self.lengths {
            tensors.push(("lengths".to_owned(), Dtype::I64, vec![self.batch]));
        }
        tensors.extend((0..self.sets).map(|set| (format!("h.{set}"), Dtype::F32, width.clone())));
        if self.base {
            tensors.push(("h.base".to_owned(), Dtype::F32, width));
        }
        tensors
    }

    fn forward_scalars(&self, seq: &str) -> [(&'static str, String); 4] {
        let id = crate::domain::ids::ForwardId(uuid::Uuid::nil()).to_string();
        let truncated = 0.to_string();
        [("forward_id", id), ("seq", seq.to_owned()), ("tokens", self.tokens.to_string()), ("truncated", truncated)]
    }

    fn backward_sent(&self) -> Vec<Named> {
        self.pairs()
            .map(|(set, share)| (format!("s.{set}.{share}"), Dtype::F32, vec![self.rows, self.hidden]))
            .collect()
    }

    fn backward_answered(&self) -> Vec<Named> {
        self.pairs().map(|(set, share)| (format!("G.{set}.{share}"), Dtype::F32, vec![self.parameters])).collect()
    }

    fn pairs(&self) -> impl Iterator<Item = (usize, usize)> {
        let shares = self.shares;
        (0..self.sets).flat_map(move |set| (0..shares).map(move |share| (set, share)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::tensor::WireTensor;
    use crate::engine::codec::write_safetensors;

    #[test]
    fn a_size_is_that_of_the_file_that_is_written() {
        let shape = StepShape {
            custody: Custody::Client,
            sets: 2,
            shares: 3,
            base: true,
            batch: 5,
            rows: 21,
            tokens: 21,
            lengths: true,
            hidden: 7,
            parameters: 1001,
        };
        for named in [shape.forward_sent(), shape.forward_answered(), shape.backward_sent(), shape.backward_answered()]
        {
            let whole = |(name, dtype, shape): &Named| {
                let bytes = vec![0; shape.iter().product::<usize>() * dtype.size()];
                WireTensor::new(name, *dtype, shape.clone(), bytes.into()).expect("fits")
            };
            let tensors: Vec<WireTensor> = named.iter().map(whole).collect();
            let metadata = BTreeMap::from([("seq".to_owned(), "12".to_owned())]);
            let written = write_safetensors(&tensors, &metadata).expect("writes").len() as u64;
            assert_eq!(size(named, &[("seq", "12".to_owned())]).expect("sizes"), written);
        }
    }
}
