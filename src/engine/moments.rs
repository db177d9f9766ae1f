//! Mean and principal components of many states. Owns the sums over them, in 64-bit floats; must never keep a state. The same states in
//! the same portions give the same bits.

use tch::Kind;
use tch::Tensor;

use crate::domain::tensor::WireTensor;
use crate::engine::codec::to_tensor;
use crate::engine::codec::to_wire;
use crate::engine::interface::EngineError;
use crate::model::error::TchResult;

/// Sums over states of width d.
#[derive(Debug)]
pub struct Moments {
    count: f64,
    /// `[d]`.
    sum: Tensor,
    /// `[d, d]`.
    products: Tensor,
}

impl Moments {
    /// Of no states of this width.
    pub fn new(width: usize) -> Result<Self, EngineError> {
        let zeros = |shape: &[i64]| Tensor::f_zeros(shape, (Kind::Double, tch::Device::Cpu));
        let width = width as i64;
        let made: TchResult<_> = zeros(&[width]).and_then(|sum| Ok((sum, zeros(&[width, width])?)));
        let (sum, products) = made.map_err(failed)?;
        Ok(Self { count: 0.0, sum, products })
    }

    /// Adds states `[R, d]`.
    pub fn add(&mut self, states: &WireTensor) -> Result<(), EngineError> {
        let states = to_tensor(states).map_err(|error| EngineError::Internal(error.to_string()))?;
        self.add_live(&states).map_err(failed)
    }

    fn add_live(&mut self, states: &Tensor) -> TchResult<()> {
        let _frozen = tch::no_grad_guard();
        let states = states.f_to_kind(Kind::Double)?; // (r, d)
        self.count += states.size()[0] as f64;
        self.sum = self.sum.f_add(&states.f_sum_dim_intlist([0].as_slice(), false, Kind::Double)?)?;
        self.products = self.products.f_add(&states.f_tr()?.f_matmul(&states)?)?;
        Ok(())
    }

    /// The mean `[d]`, and the `dim` directions `[d, dim]` in which the states vary most, the first most. Each points to where its largest
    /// element is positive: a direction's sign is otherwise a matter of chance.
    pub fn principal(&self, dim: usize) -> Result<[WireTensor; 2], EngineError> {
        let (mean, components) = self.principal_live(dim as i64).map_err(failed)?;
        let wire = |name: &str, tensor: &Tensor| {
            to_wire(name, tensor).map_err(|error| EngineError::Internal(error.to_string()))
        };
        Ok([wire("mean", &mean)?, wire("components", &components)?])
    }

    fn principal_live(&self, dim: i64) -> TchResult<(Tensor, Tensor)> {
        let _frozen = tch::no_grad_guard();
        let mean = self.sum.f_div_scalar(self.count)?; // (d)
        let covariance = self.products.f_div_scalar(self.count)?.f_sub(&mean.f_outer(&mean)?)?; // (d, d)
        let (_, vectors) = covariance.f_linalg_eigh("L")?; // columns, by ascending variance
        let width = vectors.size()[1];
        let top = vectors.f_narrow(1, width - dim, dim)?.f_flip([1])?; // (d, dim)
        let largest = top.f_abs()?.f_argmax(0, true)?; // (1, dim)
        let signs = top.f_gather(0, &largest, false)?.f_sign()?;
        Ok((mean, top.f_mul(&signs)?))
    }
}

fn failed(error: tch::TchError) -> EngineError {
    EngineError::Internal(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_component_is_the_direction_of_most_variance() {
        let rows: Vec<f32> = (0..50)
            .flat_map(|row| {
                let along = row as f32 - 24.5;
                [3.0 + along * 0.6, -1.0 - along * 0.8, 2.0 + if row % 2 == 0 { 0.1 } else { -0.1 }]
            })
            .collect();
        let states = |rows: &[f32]| WireTensor::from_f32("x", vec![rows.len() / 3, 3], rows).expect("fits");
        let mut moments = Moments::new(3).expect("makes");
        for portion in rows.chunks(30) {
            moments.add(&states(portion)).expect("adds");
        }
        let [mean, components] = moments.principal(2).expect("has components");
        let near = |found: &WireTensor, expected: &[f32]| {
            let found = found.floats().expect("floats");
            found.len() == expected.len() && found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-4)
        };
        assert!(near(&mean, &[3.0, -1.0, 2.0]), "{:?}", mean.floats());
        // The larger element of the first direction is that of the second feature, and so positive.
        let first: Vec<f32> = components.floats().expect("floats").into_iter().step_by(2).collect();
        assert!((first[0] + 0.6).abs() < 1e-3 && (first[1] - 0.8).abs() < 1e-3 && first[2].abs() < 1e-2, "{first:?}");
    }
}
