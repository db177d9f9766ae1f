//! Tensors as they travel: a name, an element type, a shape and raw little-endian bytes. Owns the arithmetic that keeps
//! shape and bytes in step; must never hold a live tensor.

use bytes::Bytes;

/// Element type of a tensor on the wire, spelled as safetensors spells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dtype {
    /// 32-bit float: activations, shares, gradients, adapters.
    F32,
    /// 64-bit signed integer: rows, token ids, lengths.
    I64,
    /// 32-bit signed integer: token ids, lengths.
    I32,
    /// 16-bit float: hidden states, in answers alone.
    F16,
    /// Upper half of a 32-bit float: hidden states, in answers alone.
    BF16,
    /// 8-bit signed integer: hidden states, in answers alone.
    I8,
}

impl Dtype {
    /// Bytes of one element.
    pub fn size(self) -> usize {
        match self {
            Self::F32 | Self::I32 => 4,
            Self::I64 => 8,
            Self::F16 | Self::BF16 => 2,
            Self::I8 => 1,
        }
    }

    /// The safetensors name, `F32` for example.
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "F32",
            Self::I64 => "I64",
            Self::I32 => "I32",
            Self::F16 => "F16",
            Self::BF16 => "BF16",
            Self::I8 => "I8",
        }
    }

    /// Reads the safetensors name of an element type that a client may send.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::F32, Self::I64, Self::I32].into_iter().find(|dtype| dtype.name() == name)
    }
}

/// One named tensor on its way in or out. Invariant: `bytes.len()` is the product of `shape` times the element size.
#[derive(Debug, Clone, PartialEq)]
pub struct WireTensor {
    name: String,
    dtype: Dtype,
    shape: Vec<usize>,
    bytes: Bytes,
}

/// Shape and bytes disagree.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TensorError {
    /// The product of the dimensions overflows, or a dimension is zero.
    #[error("tensor '{0}': the shape has a zero dimension or is too large")]
    BadShape(String),
    /// The bytes do not fill the shape.
    #[error("tensor '{name}': the shape needs {expected} bytes, got {got}")]
    WrongLength {
        /// The tensor.
        name: String,
        /// Bytes that the shape needs.
        expected: usize,
        /// Bytes that came.
        got: usize,
    },
}

impl WireTensor {
    /// Ties bytes to a shape; refuses when they disagree.
    pub fn new(name: impl Into<String>, dtype: Dtype, shape: Vec<usize>, bytes: Bytes) -> Result<Self, TensorError> {
        let name = name.into();
        let expected = shape
            .iter()
            .try_fold(dtype.size(), |size, &dim| if dim == 0 { None } else { size.checked_mul(dim) })
            .filter(|size| i64::try_from(*size).is_ok());
        match expected {
            None => Err(TensorError::BadShape(name)),
            Some(expected) if expected != bytes.len() => {
                Err(TensorError::WrongLength { name, expected, got: bytes.len() })
            }
            Some(_) => Ok(Self { name, dtype, shape, bytes }),
        }
    }

    /// A float tensor from values.
    pub fn from_f32(name: impl Into<String>, shape: Vec<usize>, values: &[f32]) -> Result<Self, TensorError> {
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        Self::new(name, Dtype::F32, shape, bytes.into())
    }

    /// The name, `h.0` for example.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The element type.
    pub fn dtype(&self) -> Dtype {
        self.dtype
    }

    /// The dimensions, outermost first.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// The raw little-endian elements.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        self.bytes.len() / self.dtype.size()
    }

    /// Whether there are no elements; never true for a tensor that [`WireTensor::new`] made.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The same tensor under another name.
    pub fn renamed(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// The elements of a tensor of wide integers; `None` for others.
    pub fn integers(&self) -> Option<Vec<i64>> {
        match self.dtype {
            Dtype::I64 => Some(self.bytes.as_chunks::<8>().0.iter().map(|chunk| i64::from_le_bytes(*chunk)).collect()),
            Dtype::I32 => {
                Some(self.bytes.as_chunks::<4>().0.iter().map(|chunk| i64::from(i32::from_le_bytes(*chunk))).collect())
            }
            _ => None,
        }
    }

    /// Whether no element is infinite or no number; true for elements that are not 32-bit floats.
    pub fn is_finite(&self) -> bool {
        let finite = |chunk: &[u8; 4]| f32::from_le_bytes(*chunk).is_finite();
        self.dtype != Dtype::F32 || self.bytes.as_chunks::<4>().0.iter().all(finite)
    }

    /// The elements of a tensor of 32-bit floats; `None` for others.
    pub fn floats(&self) -> Option<Vec<f32>> {
        match self.dtype {
            Dtype::F32 => Some(self.bytes.as_chunks::<4>().0.iter().map(|chunk| f32::from_le_bytes(*chunk)).collect()),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_must_fill_the_shape_exactly() {
        let four = Bytes::from_static(&[0; 4]);
        assert!(WireTensor::new("a", Dtype::F32, vec![1], four.clone()).is_ok());
        assert!(matches!(
            WireTensor::new("a", Dtype::F32, vec![256], four.clone()),
            Err(TensorError::WrongLength { expected: 1024, got: 4, .. })
        ));
        for shape in [vec![0], vec![usize::MAX, 2], vec![0, 1 << 62]] {
            assert!(matches!(WireTensor::new("a", Dtype::F32, shape, four.clone()), Err(TensorError::BadShape(_))));
        }
    }

    #[test]
    fn values_survive_the_trip() {
        let tensor = WireTensor::from_f32("a", vec![2], &[1.5, -2.0]).expect("fits");
        assert_eq!(tensor.floats(), Some(vec![1.5, -2.0]));
        assert_eq!(tensor.integers(), None);
        assert!(tensor.is_finite());
        for bad in [f32::NAN, f32::INFINITY] {
            assert!(!WireTensor::from_f32("a", vec![2], &[1.5, bad]).expect("fits").is_finite());
        }
    }
}
