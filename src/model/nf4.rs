//! A frozen weight in 4 bits, as QLoRA (arXiv 2305.14314) and bitsandbytes have it: NormalFloat4 in blocks of 64, with the
//! blocks' scales in float32 or, doubly quantized, in 8 bits. Owns the second quantization; the blocks are in native/nf4.h.
//!
//! 4.5 bits an element, or 4.127 with double quantization. Products are in float32: the weight is dequantized for one product
//! and again for its backward, so that only one layer is ever whole, and shares lose no more than in a float32 backbone.

use tch::Kind;
use tch::Tensor;

use crate::model::error::TchResult;
use crate::model::native;
use crate::model::native::Nf4Parts;

/// Elements that share a scale.
pub const BLOCK: usize = 64;
/// Scales that share a scale of their own.
const NESTED_BLOCK: usize = 256;

/// Quantizes a float32 weight `[out, in]` with a multiple of 64 elements, on the CPU.
pub fn quantize(weight: &Tensor, double: bool) -> TchResult<Nf4Parts> {
    let (rows, columns) = weight.size2()?;
    let (codes, absmax) = native::nf4_quantize(weight)?;
    let parts = Nf4Parts { codes, absmax, nested: None, shape: [rows, columns] };
    if double { nest(parts) } else { Ok(parts) }
}

/// Quantizes the scales: their mean is taken off, and what is left becomes a byte in blocks of 256 that have a scale each.
fn nest(parts: Nf4Parts) -> TchResult<Nf4Parts> {
    let scales = Vec::<f32>::try_from(&parts.absmax)?;
    let offset = f32::try_from(parts.absmax.f_mean(Kind::Float)?)?;
    let table = dynamic_map();
    let mut bytes = Vec::with_capacity(scales.len());
    let mut largest = Vec::new();
    for block in scales.chunks(NESTED_BLOCK) {
        let most = block.iter().fold(0.0_f32, |most, scale| most.max((scale - offset).abs()));
        largest.push(most);
        bytes.extend(block.iter().map(|scale| nearest(&table, (scale - offset) / most)));
    }
    let nested: Vec<f32> = table.into_iter().chain([offset]).chain(largest).collect();
    Ok(Nf4Parts { absmax: Tensor::f_from_slice(&bytes)?, nested: Some(Tensor::f_from_slice(&nested)?), ..parts })
}

/// Index of the value in the sorted table that is nearest to `value`; the lower one of two as near.
fn nearest(table: &[f32], value: f32) -> u8 {
    let above = table.partition_point(|entry| *entry < value);
    let index = match above {
        0 => 0,
        end if end == table.len() => end - 1,
        index if value - table[index - 1] <= table[index] - value => index - 1,
        index => index,
    };
    index as u8
}

/// bitsandbytes' 8-bit dynamic data type (arXiv 2110.02861, `create_dynamic_map`): a sign, an exponent of base ten in unary, and
/// what bits are left for a linear fraction. Sorted; 256 values from -0.993 to 1.
fn dynamic_map() -> Vec<f32> {
    const EXPONENTS: i32 = 7;
    let mut values = vec![0.0, 1.0];
    for exponent in 0..EXPONENTS {
        let bins = 1 << exponent;
        let edge = |i: i32| 0.1 + 0.9 * f64::from(i) / f64::from(bins);
        for bin in 0..bins {
            let middle = (edge(bin) + edge(bin + 1)) / 2.0 * 10_f64.powi(exponent - EXPONENTS + 1);
            values.extend([middle as f32, -middle as f32]);
        }
    }
    values.sort_by(f32::total_cmp);
    values
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_has_a_place_for_every_byte() {
        let table = dynamic_map();
        assert_eq!(table.len(), 256);
        assert!(table.is_sorted() && table[127] == 0.0 && table[255] == 1.0);
        for (index, value) in table.iter().enumerate() {
            assert_eq!(usize::from(nearest(&table, *value)), index);
        }
        assert_eq!((nearest(&table, -2.0), nearest(&table, 2.0)), (0, 255));
    }
}
