//! What is done to the hidden states of one features job, row by row, and to those of other texts that are to be like them. Owns the
//! names that it has in a file; must never compute.

use std::collections::BTreeMap;
use std::hash::Hash;
use std::hash::Hasher;

use crate::domain::ids::JobId;
use crate::domain::tensor::WireTensor;

/// What is done to the states of one level, or of one pick of it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Part {
    /// `mean` `[d]`, which is subtracted, and `components` `[d, dim]`, which the rest is multiplied by.
    pub projection: Option<[WireTensor; 2]>,
    /// Of 8-bit integers: `scale` `[dim]`, which a state is divided by.
    pub scale: Option<WireTensor>,
}

/// What is done to the states of a job. Two with the same id are the same.
#[derive(Debug, Clone)]
pub struct Transform {
    /// The job that it was made for.
    pub id: JobId,
    /// By the name of the states behind `hidden.`: `3`, or `3.cls`.
    pub parts: BTreeMap<String, Part>,
}

impl PartialEq for Transform {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id && self.parts.len() == other.parts.len()
    }
}

impl Eq for Transform {}

impl Hash for Transform {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.id.hash(state);
    }
}

impl Transform {
    /// What is done to the states of this name, `hidden.3.cls`.
    pub fn part(&self, name: &str) -> Option<&Part> {
        self.parts.get(name.strip_prefix("hidden.")?)
    }

    /// Features that are left of a level of this width: the most of any part.
    pub fn width(&self, width: usize) -> usize {
        let left =
            |part: &Part| part.projection.as_ref().and_then(|[_, components]| components.shape().last().copied());
        self.parts.values().map(|part| left(part).unwrap_or(width)).max().unwrap_or(width)
    }

    /// The tensors of its file: `mean.3`, `components.3` and `scale.3`, as far as there are any.
    pub fn tensors(&self) -> Vec<WireTensor> {
        let mut tensors = Vec::new();
        for (suffix, Part { projection, scale }) in &self.parts {
            if let Some([mean, components]) = projection {
                tensors.push(mean.clone().renamed(format!("mean.{suffix}")));
                tensors.push(components.clone().renamed(format!("components.{suffix}")));
            }
            tensors.extend(scale.iter().map(|scale| scale.clone().renamed(format!("scale.{suffix}"))));
        }
        tensors
    }

    /// Reads those tensors back.
    pub fn from_tensors(id: JobId, tensors: Vec<WireTensor>) -> Self {
        let mut parts: BTreeMap<String, Part> = BTreeMap::new();
        let mut means: BTreeMap<String, WireTensor> = BTreeMap::new();
        for tensor in tensors {
            let Some((kind, suffix)) = tensor.name().split_once('.') else { continue };
            let (kind, suffix) = (kind.to_owned(), suffix.to_owned());
            match &*kind {
                "mean" => drop(means.insert(suffix, tensor)),
                // The file has its means first: both are written by name, in this order.
                "components" => {
                    if let Some(mean) = means.remove(&suffix) {
                        parts.entry(suffix).or_default().projection = Some([mean, tensor]);
                    }
                }
                _ => parts.entry(suffix).or_default().scale = Some(tensor),
            }
        }
        Self { id, parts }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transform_reads_back_from_its_tensors() {
        let tensor = |shape: &[usize]| {
            let values = vec![0.5; shape.iter().product()];
            WireTensor::from_f32("x", shape.to_vec(), &values).expect("fits")
        };
        let part = |projected: bool, scaled: bool| Part {
            projection: projected.then(|| [tensor(&[4]).renamed("mean"), tensor(&[4, 2]).renamed("components")]),
            scale: scaled.then(|| tensor(&[2])),
        };
        for (projected, scaled) in [(true, true), (true, false), (false, true)] {
            let parts = BTreeMap::from([
                ("0".to_owned(), part(projected, scaled)),
                ("3.cls".to_owned(), part(projected, scaled)),
            ]);
            let made = Transform { id: JobId(uuid::Uuid::nil()), parts };
            let read = Transform::from_tensors(made.id, made.tensors());
            assert_eq!(read.tensors(), made.tensors());
            assert_eq!(read.part("hidden.3.cls").map(|part| part.scale.is_some()), Some(scaled));
        }
    }
}
