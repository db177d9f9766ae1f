//! Weight files of a Hugging Face folder, mapped into memory. Owns the mappings; must
//! never write to a mapping, and never open a pickle.

use std::collections::HashMap;
use std::fs;
use std::fs::File;
use std::path::Path;
use std::path::PathBuf;

use memmap2::Mmap;
use safetensors::Dtype;
use safetensors::SafeTensors;
use serde_json::Value;
use tch::Device;
use tch::Kind;
use tch::Tensor;

use crate::model::error::ModelError;

struct Entry {
    file: usize,
    start: usize,
    dtype: Dtype,
    shape: Vec<i64>,
}

/// The tensors of a folder. Tensors that [`Weights::get`] returned may point into the mappings held here: whoever keeps such
/// a tensor, or anything computed from it with a graph, must keep the `Weights` for longer.
pub struct Weights {
    tensors: HashMap<String, Entry>,
    prefix: String,
    maps: Vec<Mmap>,
    checked_only: bool,
}

impl Weights {
    /// Maps `model.safetensors`, or the files that `model.safetensors.index.json` names.
    pub fn open(folder: &Path) -> Result<Self, ModelError> {
        let mut weights =
            Self { tensors: HashMap::new(), prefix: String::new(), maps: Vec::new(), checked_only: false };
        for path in weight_files(folder)? {
            weights.map(&path)?;
        }
        Ok(weights)
    }

    /// For looking at a folder: names and shapes are checked as always, but [`Weights::get`] reads nothing and answers zeros that
    /// take no memory.
    pub fn checked_only(self) -> Self {
        Self { checked_only: true, ..self }
    }

    /// Finds the prefix (`""` or one of `prefixes`) under which `name` stands; later names are looked up under it.
    pub fn settle_prefix(&mut self, prefixes: &[&str], name: &str) -> Result<(), ModelError> {
        let found = std::iter::once("").chain(prefixes.iter().copied());
        let found = found.into_iter().find(|prefix| self.tensors.contains_key(&format!("{prefix}{name}")));
        self.prefix = found.ok_or_else(|| missing(name))?.to_owned();
        Ok(())
    }

    /// Whether there is a tensor of this name.
    pub fn has(&self, name: &str) -> bool {
        self.entry(name).is_some()
    }

    /// The tensor of this name and shape: a view of the file where kind and device are the file's, a copy otherwise.
    pub fn get(&self, name: &str, shape: &[i64], kind: Kind, device: Device) -> Result<Tensor, ModelError> {
        let (entry, stored) = self.checked(name, shape)?;
        if self.checked_only {
            return Ok(Tensor::f_zeros([1], (kind, device))?.f_expand(shape, false)?);
        }
        Ok(self.view(entry, stored)?.f_to_device(device)?.f_to_kind(kind)?)
    }

    /// As [`Weights::get`], in the kind that the file has.
    pub fn get_stored(&self, name: &str, shape: &[i64], device: Device) -> Result<Tensor, ModelError> {
        let (_, stored) = self.checked(name, shape)?;
        self.get(name, shape, stored, device)
    }

    fn checked(&self, name: &str, shape: &[i64]) -> Result<(&Entry, Kind), ModelError> {
        let entry = self.entry(name).ok_or_else(|| missing(name))?;
        if entry.shape != shape {
            let reason = format!("tensor '{name}' has shape {:?}, config.json needs {shape:?}", entry.shape);
            return Err(ModelError::Folder(reason));
        }
        let stored = match entry.dtype {
            Dtype::F32 => Kind::Float,
            Dtype::F16 => Kind::Half,
            Dtype::BF16 => Kind::BFloat16,
            other => {
                return Err(ModelError::Folder(format!("tensor '{name}' is {other:?}; use F32, F16 or BF16")));
            }
        };
        let address = self.maps[entry.file][entry.start..].as_ptr() as usize;
        if !address.is_multiple_of(stored.elt_size_in_bytes()) {
            return Err(ModelError::Folder(format!("tensor '{name}' is not aligned; save the model again")));
        }
        Ok((entry, stored))
    }

    fn view(&self, entry: &Entry, kind: Kind) -> Result<Tensor, ModelError> {
        view(&self.maps[entry.file][entry.start..], &entry.shape, kind)
    }

    /// Number of floating-point elements in the files.
    pub fn parameters(&self) -> u64 {
        let floats = self.tensors.values().filter(|e| matches!(e.dtype, Dtype::F32 | Dtype::F16 | Dtype::BF16));
        floats.map(|entry| entry.shape.iter().product::<i64>().unsigned_abs()).sum()
    }

    /// Size of the files, in bytes.
    pub fn bytes(&self) -> u64 {
        self.maps.iter().map(|map| map.len() as u64).sum()
    }

    fn entry(&self, name: &str) -> Option<&Entry> {
        self.tensors.get(&format!("{}{name}", self.prefix))
    }

    fn map(&mut self, path: &Path) -> Result<(), ModelError> {
        let shown = path.file_name().unwrap_or_default().to_string_lossy();
        let file = File::open(path).map_err(|e| ModelError::folder(format!("{shown} cannot be read: {e}")))?;
        let map = map_file(&file).map_err(|e| ModelError::folder(format!("{shown} cannot be mapped: {e}")))?;
        // read_metadata checks that offsets, shapes and element types agree, and that the file is as long as they say.
        let (header, metadata) =
            SafeTensors::read_metadata(&map).map_err(|e| ModelError::folder(format!("{shown}: {e}")))?;
        for (name, info) in metadata.tensors() {
            let shape = info.shape.iter().map(|&dim| dim as i64).collect();
            let start = 8 + header + info.data_offsets.0;
            self.tensors.insert(name, Entry { file: self.maps.len(), start, dtype: info.dtype, shape });
        }
        let length = 8 + header + metadata.data_len();
        if map.len() != length {
            return Err(ModelError::Folder(format!("{shown} has {} bytes, its header says {length}", map.len())));
        }
        self.maps.push(map);
        Ok(())
    }
}

fn missing(name: &str) -> ModelError {
    ModelError::Folder(format!("the weight files have no tensor '{name}'"))
}

fn weight_files(folder: &Path) -> Result<Vec<PathBuf>, ModelError> {
    let single = folder.join("model.safetensors");
    if single.is_file() {
        return Ok(vec![single]);
    }
    match fs::read(folder.join("model.safetensors.index.json")) {
        Ok(index) => shards(folder, &index),
        Err(_) => Err(no_weights(folder)),
    }
}

fn shards(folder: &Path, index: &[u8]) -> Result<Vec<PathBuf>, ModelError> {
    let index: Value =
        serde_json::from_slice(index).map_err(|e| ModelError::folder(format!("model.safetensors.index.json: {e}")))?;
    let map = index.get("weight_map").and_then(Value::as_object);
    let mut names: Vec<&str> = map.into_iter().flat_map(|map| map.values()).filter_map(Value::as_str).collect();
    names.sort_unstable();
    names.dedup();
    if names.is_empty() {
        return Err(ModelError::folder("model.safetensors.index.json: weight_map is missing or empty"));
    }
    if let Some(name) = names.iter().find(|name| name.contains(['/', '\\']) || !name.ends_with(".safetensors")) {
        return Err(ModelError::Folder(format!(
            "model.safetensors.index.json: '{name}' is not a safetensors file name"
        )));
    }
    Ok(names.into_iter().map(|name| folder.join(name)).collect())
}

fn no_weights(folder: &Path) -> ModelError {
    let files = fs::read_dir(folder).into_iter().flatten().flatten().map(|file| file.path());
    let pickle = files.into_iter().find(|path| {
        let extension = path.extension().and_then(|e| e.to_str()).unwrap_or_default();
        matches!(extension, "bin" | "pt" | "pth" | "ot" | "ckpt" | "pkl" | "pickle")
    });
    match pickle {
        None => ModelError::folder("the folder has no model.safetensors"),
        Some(path) => ModelError::Folder(format!(
            "the folder has {} but no model.safetensors. Pickles can run code when they are read and are never loaded; \
             convert it on a machine that you trust: transformers.AutoModel.from_pretrained(folder)\
             .save_pretrained(folder, safe_serialization=True)",
            path.file_name().unwrap_or_default().to_string_lossy()
        )),
    }
}

#[allow(unsafe_code)]
fn map_file(file: &File) -> std::io::Result<Mmap> {
    // SAFETY: the mapping is read-only and private. A file that another process changes while it is mapped would change the
    // weights under us, or raise SIGBUS when cut short; the folder of a registered model must stay as it is, as documented.
    unsafe { Mmap::map(file) }
}

/// A tensor over `bytes`, which must hold the whole of it, aligned for `kind`.
#[allow(unsafe_code)]
fn view(bytes: &[u8], shape: &[i64], kind: Kind) -> Result<Tensor, ModelError> {
    let elements = shape.iter().try_fold(1_usize, |size, &dim| size.checked_mul(usize::try_from(dim).ok()?));
    let length = elements.and_then(|elements| elements.checked_mul(kind.elt_size_in_bytes()));
    if length.is_none_or(|length| length == 0 || length > bytes.len()) {
        return Err(ModelError::folder("a tensor does not fit its file"));
    }
    let mut strides = vec![1; shape.len()];
    for dim in (1..shape.len()).rev() {
        strides[dim - 1] = strides[dim] * shape[dim];
    }
    // SAFETY: the bytes are there (checked above), aligned (checked by the caller), initialised, and outlive the tensor by
    // the contract of `Weights`. They are never written: the model has no in-place call, and the mapping is read-only.
    Ok(unsafe { Tensor::f_from_blob(bytes.as_ptr(), shape, &strides, kind, Device::Cpu)? })
}
