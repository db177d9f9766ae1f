//! Frozen linear layers: `y = x W^T + b`, with an update where the pass has one for their site. Owns how a weight is kept
//! (float32 where it lies in its file, bfloat16, NF4) and which product is used for it.

use tch::Device;
use tch::Kind;
use tch::Tensor;

use crate::domain::settings::Precision;
use crate::model::backbone::Placement;
use crate::model::error::ModelError;
use crate::model::error::TchResult;
use crate::model::lora_pass::LoraPass;
use crate::model::native;
use crate::model::native::Nf4Parts;
use crate::model::nf4;
use crate::model::sites::LinearSite;
use crate::model::weights::Weights;

#[derive(Debug)]
enum Frozen {
    /// float32 on the CPU, multiplied by oneDNN.
    OneDnn(Tensor),
    /// Any other floats, multiplied by LibTorch in their own kind.
    Plain(Tensor),
    /// 4 bits.
    Nf4(Nf4Parts),
}

/// A frozen linear layer.
#[derive(Debug)]
pub struct Linear {
    site: usize,
    frozen: Frozen,
    bias: Option<Tensor>,
}

impl Linear {
    /// `[T, S, in]` to `[T, S, out]`, in the backbone's kind (float32 for NF4). An input of the bare backbone, `[T, 1, in]`,
    /// stays so where there is no update, and is multiplied by the frozen weight only once where there is one.
    pub fn forward(&self, x: &Tensor, lora: Option<&LoraPass>) -> TchResult<Tensor> {
        let frozen = self.frozen(x)?; // (t, s, out)
        match lora.map(|lora| lora.delta(self.site, x)).transpose()?.flatten() {
            None => Ok(frozen),
            Some(delta) => frozen.f_add(&delta.f_to_kind(frozen.kind())?),
        }
    }

    fn frozen(&self, x: &Tensor) -> TchResult<Tensor> {
        match &self.frozen {
            Frozen::OneDnn(weight) => native::linear(x, weight, self.bias.as_ref()),
            Frozen::Plain(weight) => x.f_to_kind(weight.kind())?.f_linear(weight, self.bias.as_ref()),
            Frozen::Nf4(parts) => parts.linear(&x.f_to_kind(Kind::Float)?, self.bias.as_ref()),
        }
    }
}

/// Reads linear layers in module order, and numbers their sites.
pub struct LinearLoader<'a> {
    /// Where they are read from.
    pub(super) weights: &'a Weights,
    /// Where and how they will compute.
    pub(super) placement: Placement,
    /// The sites so far.
    pub sites: Vec<LinearSite>,
}

impl<'a> LinearLoader<'a> {
    /// Reads from `weights`.
    pub fn new(weights: &'a Weights, placement: Placement) -> Self {
        Self { weights, placement, sites: Vec::new() }
    }

    /// `{name}.weight` `[out, in]` and, with `bias`, `{name}.bias` `[out]`.
    pub fn linear(&mut self, name: String, [inputs, outputs]: [usize; 2], bias: bool) -> Result<Linear, ModelError> {
        let device = self.placement.device;
        let kind = self.placement.kind();
        let shape = [outputs as i64, inputs as i64];
        let path = format!("{name}.weight");
        let frozen = match self.placement.precision {
            Precision::Nf4 => Frozen::Nf4(self.quantized(&path, shape)?),
            Precision::Float32 if device == Device::Cpu && self.placement.onednn => {
                Frozen::OneDnn(self.weights.get(&path, &shape, kind, device)?)
            }
            _ => Frozen::Plain(self.weights.get(&path, &shape, kind, device)?),
        };
        let bias = bias.then(|| self.weights.get(&format!("{name}.bias"), &[shape[0]], kind, device)).transpose()?;
        let linear = Linear { site: self.sites.len(), frozen, bias };
        self.sites.push(LinearSite { name, inputs, outputs });
        Ok(linear)
    }

    fn quantized(&self, path: &str, shape: [i64; 2]) -> Result<Nf4Parts, ModelError> {
        if !(shape[0] * shape[1]).unsigned_abs().is_multiple_of(nf4::BLOCK as u64) {
            let reason = format!("'nf4' needs a multiple of 64 weights, '{path}' is {shape:?}");
            return Err(ModelError::setting("precision", reason));
        }
        let weight = self.weights.get(path, &shape, Kind::Float, Device::Cpu)?;
        let parts = nf4::quantize(&weight, self.placement.double_quant)?;
        let device = self.placement.device;
        Ok(Nf4Parts {
            codes: parts.codes.f_to_device(device)?,
            absmax: parts.absmax.f_to_device(device)?,
            nested: parts.nested.map(|nested| nested.f_to_device(device)).transpose()?,
            shape,
        })
    }
}
