//! Packed batches: the tokens of all inputs one after the other, shortest input first, so that no layer sees padding and no
//! mask exists. Owns the permutation between the callers' order and the packed order.

use tch::Tensor;

use crate::model::TchResult;

/// Inputs of one length, next to each other in the packed order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Group {
    /// Number G of inputs.
    pub inputs: i64,
    /// Tokens L of each.
    pub length: i64,
}

/// A packed batch of B inputs with N tokens.
#[derive(Debug)]
pub struct Packed {
    /// Token ids `[N]`.
    pub ids: Tensor,
    /// Token types `[N]`; `None` stands for all zero.
    pub types: Option<Tensor>,
    /// Place of each token in its input, from 0, `[N]`.
    pub positions: Tensor,
    /// Runs of inputs of one length; they cover all inputs.
    pub groups: Vec<Group>,
    /// First token of each input `[B]`, as an index into the packed tokens.
    pub first: Tensor,
    /// Last token of each input `[B]`.
    pub last: Tensor,
    /// Packed place of each input in the callers' order `[B]`.
    pub restore_inputs: Tensor,
    /// Packed place of each token in the callers' order `[N]`.
    pub restore_tokens: Tensor,
}

impl Packed {
    /// Packs inputs; `types`, where given, has the same lengths. Inputs must not be empty.
    pub fn new(ids: &[Vec<i64>], types: Option<&[Vec<i64>]>) -> TchResult<Self> {
        let mut order: Vec<usize> = (0..ids.len()).collect();
        order.sort_by_key(|&input| ids[input].len()); // stable: the same batch always packs the same way
        let flat =
            |lists: &[Vec<i64>]| order.iter().flat_map(|&input| lists[input].iter().copied()).collect::<Vec<_>>();
        let places = Places::new(ids, &order);
        Ok(Self {
            ids: Tensor::f_from_slice(&flat(ids))?,
            types: types.map(|types| Tensor::f_from_slice(&flat(types))).transpose()?,
            positions: Tensor::f_from_slice(&places.positions)?,
            groups: places.groups,
            first: Tensor::f_from_slice(&places.first)?,
            last: Tensor::f_from_slice(&places.last)?,
            restore_inputs: Tensor::f_from_slice(&places.restore_inputs)?,
            restore_tokens: Tensor::f_from_slice(&places.restore_tokens)?,
        })
    }

    /// Tokens of each group, for splitting `[N, ...]`.
    pub fn group_tokens(&self) -> Vec<i64> {
        self.groups.iter().map(|group| group.inputs * group.length).collect()
    }

    /// Inputs of each group, for splitting `[B, ...]`.
    pub fn group_inputs(&self) -> Vec<i64> {
        self.groups.iter().map(|group| group.inputs).collect()
    }
}

#[derive(Default)]
struct Places {
    positions: Vec<i64>,
    groups: Vec<Group>,
    first: Vec<i64>,
    last: Vec<i64>,
    restore_inputs: Vec<i64>,
    restore_tokens: Vec<i64>,
}

impl Places {
    fn new(ids: &[Vec<i64>], order: &[usize]) -> Self {
        let mut places = Self { restore_inputs: vec![0; ids.len()], ..Self::default() };
        let mut start = 0;
        for (packed, &input) in order.iter().enumerate() {
            let length = ids[input].len() as i64;
            places.positions.extend(0..length);
            places.first.push(start);
            places.last.push(start + length - 1);
            places.restore_inputs[input] = packed as i64;
            match places.groups.last_mut() {
                Some(group) if group.length == length => group.inputs += 1,
                _ => places.groups.push(Group { inputs: 1, length }),
            }
            start += length;
        }
        for &packed in &places.restore_inputs {
            places.restore_tokens.extend(places.first[packed as usize]..=places.last[packed as usize]);
        }
        places
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_callers_order_comes_back() {
        let ids = vec![vec![10, 11, 12], vec![20], vec![30, 31, 32], vec![40, 41]];
        let packed = Packed::new(&ids, None).expect("packs");
        let groups = [Group { inputs: 1, length: 1 }, Group { inputs: 1, length: 2 }, Group { inputs: 2, length: 3 }];
        assert_eq!(packed.groups, groups);
        let read = |tensor: TchResult<Tensor>| Vec::<i64>::try_from(tensor.expect("indexes")).expect("integers");
        let pick = |index: &Tensor| packed.ids.f_index_select(0, index);
        assert_eq!(read(pick(&packed.restore_tokens)), ids.concat());
        let firsts = pick(&packed.first).and_then(|first| first.f_index_select(0, &packed.restore_inputs));
        assert_eq!(read(firsts), [10, 20, 30, 40]);
        let lasts = pick(&packed.last).and_then(|last| last.f_index_select(0, &packed.restore_inputs));
        assert_eq!(read(lasts), [12, 20, 32, 41]);
    }
}
