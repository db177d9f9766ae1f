//! The one door between bytes and tensors. Owns every check on tensors from outside: lengths, names, offsets, element types,
//! finiteness. Checks come before anything big is built, and nothing is copied until LibTorch takes the bytes over.

use std::collections::BTreeMap;
use std::collections::HashSet;
use std::fmt;

use bytes::Bytes;
use serde::Deserialize;
use serde::Deserializer;
use serde::de::Error;
use serde::de::MapAccess;
use serde::de::Visitor;
use tch::Device;
use tch::Kind;
use tch::Tensor;

use crate::domain::limits::Limits;
use crate::domain::tensor::Dtype;
use crate::domain::tensor::TensorError;
use crate::domain::tensor::WireTensor;

/// Largest `__metadata__`, names and values together.
const METADATA_BYTES: usize = 1024;
/// Longest name of a tensor.
const NAME_BYTES: usize = 256;

/// Bytes that are no tensors of ours, or tensors that cannot be written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    /// Over a limit, which is named.
    #[error("{0}")]
    TooLarge(String),
    /// The body is not a well-formed safetensors file.
    #[error("the body is not safetensors: {0}")]
    Malformed(String),
    /// One tensor is wrong.
    #[error("tensor '{name}': {reason}")]
    Tensor {
        /// The tensor.
        name: String,
        /// What is wrong with it.
        reason: String,
    },
}

fn wrong(name: &str, reason: impl Into<String>) -> CodecError {
    CodecError::Tensor { name: name.to_owned(), reason: reason.into() }
}

/// Reads a safetensors body without copying: the tensors are slices of `body`. Stricter than the format: no duplicate names,
/// no empty tensors, no holes, and only the element types F32, I64 and I32.
pub fn parse_safetensors(
    body: Bytes,
    limits: &Limits,
) -> Result<(Vec<WireTensor>, BTreeMap<String, String>), CodecError> {
    if body.len() > limits.tensor_body_bytes {
        let limit = limits.tensor_body_bytes;
        return Err(CodecError::TooLarge(format!("the body has {} bytes, tensor_body_bytes is {limit}", body.len())));
    }
    let (length, rest) = body
        .split_first_chunk::<8>()
        .ok_or_else(|| CodecError::Malformed(format!("{} bytes are too few for a header length", body.len())))?;
    let length = u64::from_le_bytes(*length);
    if length > limits.tensor_header_bytes as u64 {
        let limit = limits.tensor_header_bytes;
        return Err(CodecError::TooLarge(format!("the header has {length} bytes, tensor_header_bytes is {limit}")));
    }
    let header = rest
        .get(..length as usize)
        .ok_or_else(|| CodecError::Malformed(format!("the header has {length} bytes, {} are left", rest.len())))?;
    let header = parse_header(header, limits)?;
    let data = body.slice(8 + length as usize..);
    Ok((cut(header.tensors, &data, limits)?, header.metadata))
}

fn parse_header(json: &[u8], limits: &Limits) -> Result<Header, CodecError> {
    if json.first() != Some(&b'{') {
        return Err(CodecError::Malformed("the header does not begin with '{'".to_owned()));
    }
    // The visitor must know the limit before it reads, so that it stops at the first tensor too many.
    let mut reader = serde_json::Deserializer::from_slice(json);
    let mut is_over = false;
    let header = reader.deserialize_map(HeaderVisitor { most: limits.tensors_per_body, is_over: &mut is_over });
    let header = header.and_then(|header| reader.end().map(|()| header)).map_err(|error| {
        let text = error.to_string();
        if is_over { CodecError::TooLarge(text) } else { CodecError::Malformed(text) }
    })?;
    let size: usize = header.metadata.iter().map(|(key, value)| key.len() + value.len()).sum();
    if size > METADATA_BYTES {
        return Err(CodecError::TooLarge(format!("__metadata__ has {size} bytes, at most {METADATA_BYTES} are taken")));
    }
    Ok(header)
}

/// Cuts the data into tensors, which must fill it without holes.
fn cut(mut entries: Vec<(String, Entry)>, data: &Bytes, limits: &Limits) -> Result<Vec<WireTensor>, CodecError> {
    entries.sort_by_key(|(_, entry)| entry.data_offsets);
    let mut end = 0;
    let mut tensors = Vec::with_capacity(entries.len());
    for (name, entry) in entries {
        let (from, to) = entry.data_offsets;
        if entry.shape.len() > limits.tensor_rank {
            let reason = format!("has {} dimensions, tensor_rank is {}", entry.shape.len(), limits.tensor_rank);
            return Err(wrong(&name, reason));
        }
        if from != end || to < from {
            return Err(wrong(&name, format!("data_offsets [{from}, {to}] must begin at {end}")));
        }
        if to > data.len() {
            return Err(wrong(&name, format!("data_offsets end at {to}, the data has {} bytes", data.len())));
        }
        let dtype = Dtype::from_name(&entry.dtype)
            .ok_or_else(|| wrong(&name, format!("dtype '{}' is not F32, I64 or I32", entry.dtype)))?;
        tensors.push(WireTensor::new(name, dtype, entry.shape, data.slice(from..to)).map_err(from_tensor_error)?);
        end = to;
    }
    if end < data.len() {
        return Err(CodecError::Malformed(format!("{} bytes follow the last tensor", data.len() - end)));
    }
    Ok(tensors)
}

fn from_tensor_error(error: TensorError) -> CodecError {
    match error {
        TensorError::BadShape(name) => wrong(&name, "the shape has a zero dimension or is too large"),
        TensorError::WrongLength { name, expected, got } => {
            wrong(&name, format!("the shape needs {expected} bytes, data_offsets give {got}"))
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    dtype: String,
    shape: Vec<usize>,
    data_offsets: (usize, usize),
}

#[derive(Default)]
struct Header {
    tensors: Vec<(String, Entry)>,
    metadata: BTreeMap<String, String>,
}

/// Reads the header, and says in `is_over` whether it stopped at a tensor too many: serde's errors carry a text alone.
struct HeaderVisitor<'a> {
    most: usize,
    is_over: &'a mut bool,
}

impl<'de> Visitor<'de> for HeaderVisitor<'_> {
    type Value = Header;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of tensors")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Header, A::Error> {
        let mut header = Header::default();
        let mut seen = HashSet::new();
        while let Some(name) = map.next_key::<String>()? {
            if name.len() > NAME_BYTES {
                return Err(A::Error::custom(format!(
                    "a name has {} bytes, at most {NAME_BYTES} are taken",
                    name.len()
                )));
            }
            if !seen.insert(name.clone()) {
                return Err(A::Error::custom(format!("tensor '{name}' is a duplicate")));
            }
            if name == "__metadata__" {
                header.metadata = map.next_value::<Metadata>()?.0;
            } else if header.tensors.len() == self.most {
                *self.is_over = true;
                return Err(A::Error::custom(format!("more than {} tensors (tensors_per_body)", self.most)));
            } else {
                let entry = map.next_value().map_err(|e| A::Error::custom(format!("tensor '{name}': {e}")))?;
                header.tensors.push((name, entry));
            }
        }
        Ok(header)
    }
}

/// `__metadata__`: strings only, no name twice.
struct Metadata(BTreeMap<String, String>);

impl<'de> Deserialize<'de> for Metadata {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Strings;
        impl<'de> Visitor<'de> for Strings {
            type Value = Metadata;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of strings")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Metadata, A::Error> {
                let mut values = BTreeMap::new();
                while let Some((key, value)) = map.next_entry::<String, String>()? {
                    if values.insert(key, value).is_some() {
                        return Err(A::Error::custom("__metadata__ has a name twice"));
                    }
                }
                Ok(Metadata(values))
            }
        }
        deserializer.deserialize_map(Strings)
    }
}

/// Name, element type and shape of a tensor in a file.
pub type Described<'a> = (&'a str, Dtype, &'a [usize]);

/// The header of a safetensors file with these tensors, in this order, and the size of what follows it.
fn header(tensors: &[Described<'_>], metadata: &BTreeMap<String, String>) -> Result<(Vec<u8>, usize), CodecError> {
    let mut header = serde_json::Map::new();
    if !metadata.is_empty() {
        header.insert("__metadata__".to_owned(), serde_json::json!(metadata));
    }
    let mut end = 0;
    for (name, dtype, shape) in tensors {
        let range = [end, end + shape.iter().product::<usize>() * dtype.size()];
        let entry = serde_json::json!({"dtype": dtype.name(), "shape": shape, "data_offsets": range});
        if header.insert((*name).to_owned(), entry).is_some() {
            return Err(wrong(name, "is a duplicate"));
        }
        end = range[1];
    }
    let mut header = serde_json::to_vec(&header).map_err(|e| CodecError::Malformed(e.to_string()))?;
    header.resize(header.len().next_multiple_of(8), b' ');
    Ok((header, end))
}

/// Size of a safetensors file with these tensors, in this order.
pub fn safetensors_bytes(tensors: &[Described<'_>], metadata: &BTreeMap<String, String>) -> Result<u64, CodecError> {
    let (header, data) = header(tensors, metadata)?;
    Ok((8 + header.len() + data) as u64)
}

/// Writes a safetensors file. Tensors with wider elements come first, so that all are aligned.
pub fn write_safetensors(tensors: &[WireTensor], metadata: &BTreeMap<String, String>) -> Result<Bytes, CodecError> {
    let mut ordered: Vec<&WireTensor> = tensors.iter().collect();
    ordered.sort_by_key(|tensor| std::cmp::Reverse(tensor.dtype().size()));
    let described: Vec<Described<'_>> =
        ordered.iter().map(|tensor| (tensor.name(), tensor.dtype(), tensor.shape())).collect();
    let (header, end) = header(&described, metadata)?;
    let mut file = Vec::with_capacity(8 + header.len() + end);
    file.extend_from_slice(&(header.len() as u64).to_le_bytes());
    file.extend_from_slice(&header);
    for tensor in ordered {
        file.extend_from_slice(tensor.bytes());
    }
    Ok(file.into())
}

/// A live tensor from a wire tensor. Floats must be finite; the first that is not is named.
pub fn to_tensor(wire: &WireTensor) -> Result<Tensor, CodecError> {
    if let Some((index, value)) = first_not_finite(wire) {
        return Err(wrong(wire.name(), format!("element {index} is {value}, not a finite number")));
    }
    let shape: Vec<i64> = wire.shape().iter().map(|&dim| dim as i64).collect();
    // WireTensor's invariant: the bytes fill the shape exactly. LibTorch would read on past a shorter slice.
    Tensor::f_from_data_size(wire.bytes(), &shape, kind(wire.dtype())).map_err(|e| wrong(wire.name(), e.to_string()))
}

fn first_not_finite(wire: &WireTensor) -> Option<(usize, f32)> {
    if wire.dtype() != Dtype::F32 {
        return None;
    }
    let values = wire.bytes().as_chunks::<4>().0.iter().map(|chunk| f32::from_le_bytes(*chunk));
    values.enumerate().find(|(_, value)| !value.is_finite())
}

/// LibTorch's word for an element type.
fn kind(dtype: Dtype) -> Kind {
    match dtype {
        Dtype::F32 => Kind::Float,
        Dtype::I64 => Kind::Int64,
        Dtype::I32 => Kind::Int,
        Dtype::F16 => Kind::Half,
        Dtype::BF16 => Kind::BFloat16,
        Dtype::I8 => Kind::Int8,
    }
}

/// A float32 wire tensor from a live tensor.
pub fn to_wire(name: impl Into<String>, tensor: &Tensor) -> Result<WireTensor, CodecError> {
    to_wire_as(name, tensor, Dtype::F32)
}

/// A wire tensor from a live tensor, converted on its device.
pub fn to_wire_as(name: impl Into<String>, tensor: &Tensor, dtype: Dtype) -> Result<WireTensor, CodecError> {
    let name = name.into();
    let shape: Vec<usize> = tensor.size().iter().map(|&dim| dim as usize).collect();
    let read = || {
        let whole = tensor.f_detach()?.f_to_kind(kind(dtype))?.f_to_device(Device::Cpu)?.f_contiguous()?;
        let mut bytes = vec![0_u8; whole.numel() * dtype.size()];
        whole.f_copy_data_u8(&mut bytes, whole.numel())?;
        Ok::<_, tch::TchError>(bytes)
    };
    let bytes = read().map_err(|e| wrong(&name, e.to_string()))?;
    WireTensor::new(name, dtype, shape, bytes.into()).map_err(from_tensor_error)
}

#[cfg(test)]
#[path = "codec_tests.rs"]
mod tests;
