//! Packed batches: the tokens of all inputs one after the other, shortest input first, so that no layer sees padding and no
//! mask exists. Owns the permutation between the callers' order and the packed order, and who owns which packed row.

use tch::Device;
use tch::Tensor;

use crate::model::error::TchResult;

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
    /// Position of each token in its input, from 0, `[N]`.
    pub positions: Tensor,
    /// Runs of inputs of one length; they cover all inputs.
    pub groups: Vec<Group>,
    /// First token of each input `[B]`, as an index into the packed tokens.
    pub first: Tensor,
    /// Last token of each input `[B]`.
    pub last: Tensor,
    /// Last end-of-sequence token of each input `[B]`; the last token where there is none.
    pub eos: Tensor,
    /// Packed index of each input in the callers' order `[B]`.
    pub restore_inputs: Tensor,
    /// Packed index of each token in the callers' order `[N]`.
    pub restore_tokens: Tensor,
    /// Input, in the callers' order, of each packed input.
    order: Vec<usize>,
}

/// What to pack.
#[derive(Debug, Clone, Copy)]
pub struct Unpacked<'a> {
    /// Ids, one list an input; none is empty.
    pub ids: &'a [Vec<i64>],
    /// Token types, of the same lengths.
    pub types: Option<&'a [Vec<i64>]>,
    /// End-of-sequence token.
    pub eos: Option<i64>,
}

impl Packed {
    /// Packs inputs, and puts them on `device`.
    pub fn new(inputs: Unpacked, device: Device) -> TchResult<Self> {
        let Unpacked { ids, types, eos } = inputs;
        let mut order: Vec<usize> = (0..ids.len()).collect();
        order.sort_by_key(|&input| ids[input].len()); // stable: the same batch always packs the same way
        let flat =
            |lists: &[Vec<i64>]| order.iter().flat_map(|&input| lists[input].iter().copied()).collect::<Vec<_>>();
        let on_device = |values: &[i64]| Tensor::f_from_slice(values)?.f_to_device(device);
        let indices = Indices::new(ids, &order, eos);
        Ok(Self {
            ids: on_device(&flat(ids))?,
            types: types.map(|types| on_device(&flat(types))).transpose()?,
            positions: on_device(&indices.positions)?,
            groups: indices.groups,
            first: on_device(&indices.first)?,
            last: on_device(&indices.last)?,
            eos: on_device(&indices.eos)?,
            restore_inputs: on_device(&indices.restore_inputs)?,
            restore_tokens: on_device(&indices.restore_tokens)?,
            order,
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

    /// Which of `owners` has each packed token, and which each packed input; `owner_of` is by input in the callers' order.
    pub fn owned(&self, owner_of: &[usize], owners: usize) -> TchResult<[Rows; 2]> {
        let by_input: Vec<usize> = self.order.iter().map(|&input| owner_of[input]).collect();
        let lengths = self.groups.iter().flat_map(|group| (0..group.inputs).map(|_| group.length as usize));
        let by_token: Vec<usize> =
            by_input.iter().zip(lengths).flat_map(|(&owner, length)| std::iter::repeat_n(owner, length)).collect();
        let device = self.ids.device();
        Ok([Rows::new(&by_token, owners, device)?, Rows::new(&by_input, owners, device)?])
    }
}

/// How rows `[R, ...]` that belong to O owners become `[O, W, ...]`, W being the most rows of one owner, and come back.
#[derive(Debug)]
pub struct Rows {
    /// Number R of rows.
    pub count: i64,
    /// Row in each slot `[O * W]`; slots without a row repeat row 0, and are never read back.
    pub gather: Tensor,
    /// Slot of each row `[R]`.
    pub scatter: Tensor,
}

impl Rows {
    fn new(owner_of: &[usize], owners: usize, device: Device) -> TchResult<Self> {
        let mut rows: Vec<Vec<i64>> = vec![Vec::new(); owners];
        for (row, &owner) in owner_of.iter().enumerate() {
            rows[owner].push(row as i64);
        }
        let width = rows.iter().map(Vec::len).max().unwrap_or(0);
        let mut gather = vec![0; owners * width];
        let mut scatter = vec![0; owner_of.len()];
        for (owner, rows) in rows.iter().enumerate() {
            for (slot, &row) in rows.iter().enumerate() {
                gather[owner * width + slot] = row;
                scatter[row as usize] = (owner * width + slot) as i64;
            }
        }
        let on_device = |values: &[i64]| Tensor::f_from_slice(values)?.f_to_device(device);
        Ok(Self { count: owner_of.len() as i64, gather: on_device(&gather)?, scatter: on_device(&scatter)? })
    }
}

#[derive(Default)]
struct Indices {
    positions: Vec<i64>,
    groups: Vec<Group>,
    first: Vec<i64>,
    last: Vec<i64>,
    eos: Vec<i64>,
    restore_inputs: Vec<i64>,
    restore_tokens: Vec<i64>,
}

impl Indices {
    fn new(ids: &[Vec<i64>], order: &[usize], eos: Option<i64>) -> Self {
        let mut indices = Self { restore_inputs: vec![0; ids.len()], ..Self::default() };
        let mut start = 0;
        for (packed, &input) in order.iter().enumerate() {
            let length = ids[input].len() as i64;
            let end = eos.and_then(|eos| ids[input].iter().rposition(|id| *id == eos));
            indices.positions.extend(0..length);
            indices.first.push(start);
            indices.last.push(start + length - 1);
            indices.eos.push(start + end.map_or(length - 1, |end| end as i64));
            indices.restore_inputs[input] = packed as i64;
            match indices.groups.last_mut() {
                Some(group) if group.length == length => group.inputs += 1,
                _ => indices.groups.push(Group { inputs: 1, length }),
            }
            start += length;
        }
        for &packed in &indices.restore_inputs {
            indices.restore_tokens.extend(indices.first[packed as usize]..=indices.last[packed as usize]);
        }
        indices
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packed(ids: &[Vec<i64>], eos: Option<i64>) -> Packed {
        Packed::new(Unpacked { ids, types: None, eos }, Device::Cpu).expect("packs")
    }

    fn read(tensor: TchResult<Tensor>) -> Vec<i64> {
        Vec::try_from(tensor.expect("indexes")).expect("integers")
    }

    #[test]
    fn the_callers_order_comes_back() {
        let ids = vec![vec![10, 11, 12], vec![20], vec![30, 31, 32], vec![40, 41]];
        let packed = packed(&ids, Some(31));
        let groups = [Group { inputs: 1, length: 1 }, Group { inputs: 1, length: 2 }, Group { inputs: 2, length: 3 }];
        assert_eq!(packed.groups, groups);
        let pick = |index: &Tensor| packed.ids.f_index_select(0, index);
        assert_eq!(read(pick(&packed.restore_tokens)), ids.concat());
        for (index, expected) in
            [(&packed.first, [10, 20, 30, 40]), (&packed.last, [12, 20, 32, 41]), (&packed.eos, [12, 20, 31, 41])]
        {
            let picked = pick(index).and_then(|picked| picked.f_index_select(0, &packed.restore_inputs));
            assert_eq!(read(picked), expected);
        }
    }

    #[test]
    fn owners_get_their_own_rows_and_every_row_comes_back() {
        let ids = vec![vec![10, 11, 12], vec![20], vec![30, 31, 32], vec![40, 41]];
        let packed = packed(&ids, None);
        let [tokens, inputs] = packed.owned(&[1, 0, 1, 0], 2).expect("owns");
        assert_eq!((tokens.count, inputs.count), (9, 4));
        let gathered = packed.ids.f_index_select(0, &tokens.gather).expect("gathers");
        // Owner 0 has three tokens and three slots that stand for nothing.
        assert_eq!(read(Ok(gathered.shallow_clone()))[..3], [20, 40, 41]);
        assert_eq!(read(Ok(gathered.shallow_clone()))[6..], [10, 11, 12, 30, 31, 32]);
        assert_eq!(read(gathered.f_index_select(0, &tokens.scatter)), read(Ok(packed.ids.shallow_clone())));
    }
}
