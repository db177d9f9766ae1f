//! A session's whole state as one safetensors file, bit for bit: adapters, moments, accumulated gradients, steps. Owns the
//! names in that file. A snapshot fits only the layout it was taken from.

use std::collections::BTreeMap;
use std::rc::Rc;

use bytes::Bytes;
use sha2::Digest;
use sha2::Sha256;
use tch::Tensor;

use crate::domain::limits::Limits;
use crate::domain::tensor::Dtype;
use crate::domain::tensor::WireTensor;
use crate::engine::adapter_values::AdapterValues;
use crate::engine::codec::parse_safetensors;
use crate::engine::codec::to_tensor;
use crate::engine::codec::to_wire;
use crate::engine::codec::write_safetensors;
use crate::engine::errors::invalid;
use crate::engine::host_optimizer::HostOptimizer;
use crate::engine::interface::EngineError;
use crate::engine::interface::Place;
use crate::engine::interface::Snapshot;
use crate::engine::session::Session;
use crate::model::optim::AdamState;

const FORMAT: &str = "blindtune-session-1";

/// Writes the state. Refused while a set is lost: what stands in for it must not pass for the job's own.
pub fn take(session: &Session) -> Result<Snapshot, EngineError> {
    session.values.check_held(0..session.settings.adapter_sets)?;
    let mut tensors = vec![to_wire("theta", session.values.theta())?];
    let mut metadata =
        BTreeMap::from([("format".to_owned(), FORMAT.to_owned()), ("layout".to_owned(), layout_digest(session))]);
    let optimizer_steps = session.host_optimizer.as_ref().map_or(0, |optimizer| optimizer.steps);
    if let Some(optimizer) = &session.host_optimizer {
        tensors.push(to_wire("exp_avg", &optimizer.adam.first)?);
        tensors.push(to_wire("exp_avg_sq", &optimizer.adam.second)?);
        tensors.push(to_wire("gradients", &optimizer.gradients)?);
        tensors.push(steps_to_wire(&optimizer.adam.steps)?);
        metadata.insert("optimizer_steps".to_owned(), optimizer.steps.to_string());
        metadata.insert("pending".to_owned(), optimizer.pending.to_string());
    }
    Ok(Snapshot { bytes: write_safetensors(&tensors, &metadata)?, optimizer_steps })
}

/// The adapter values in a snapshot, `theta.{set}` `[P]` for each set: slices of it, without a tensor of LibTorch's.
pub fn adapters(bytes: Bytes) -> Result<Vec<WireTensor>, EngineError> {
    let (tensors, _) = read(bytes)?;
    let theta = find(&tensors, "theta")?;
    let &[sets, parameters] = theta.shape() else {
        return Err(invalid(Place::Field("snapshot"), "tensor 'theta' is no matrix"));
    };
    let size = parameters * Dtype::F32.size();
    let cut = |set: usize| {
        let bytes = theta.bytes().slice(set * size..(set + 1) * size);
        WireTensor::new(format!("theta.{set}"), Dtype::F32, vec![parameters], bytes)
    };
    (0..sets).map(cut).collect::<Result<_, _>>().map_err(|e| EngineError::Internal(e.to_string()))
}

fn read(bytes: Bytes) -> Result<(Vec<WireTensor>, BTreeMap<String, String>), EngineError> {
    // A snapshot is the host's own file: only the size of a client's body does not apply to it.
    let limits = Limits { tensor_body_bytes: usize::MAX, ..Limits::default() };
    let (tensors, metadata) = parse_safetensors(bytes, &limits)?;
    match metadata.get("format").map(String::as_str) {
        Some(FORMAT) => Ok((tensors, metadata)),
        _ => Err(invalid(Place::Field("snapshot"), format!("its format is not {FORMAT}"))),
    }
}

/// Puts a state into a session that was just opened with the same settings.
pub fn restore(session: &mut Session, bytes: Bytes) -> Result<(), EngineError> {
    let (tensors, metadata) = self::read(bytes)?;
    if metadata.get("layout") != Some(&layout_digest(session)) {
        return Err(invalid(Place::Field("snapshot"), "it was taken from a job with other adapters"));
    }
    let shape = session.values.theta().size();
    let read = |name: &str| -> Result<Tensor, EngineError> {
        let wire = find(&tensors, name)?;
        let tensor = to_tensor(wire)?.f_to_device(session.values.device())?;
        if tensor.size() == shape {
            Ok(tensor)
        } else {
            Err(invalid(
                Place::Field("snapshot"),
                format!("tensor '{name}' has shape {:?}, not {shape:?}", wire.shape()),
            ))
        }
    };
    if session.host_optimizer.is_some() {
        let steps = find(&tensors, "steps")?.integers().unwrap_or_default();
        if steps.len() != session.settings.adapter_sets {
            return Err(invalid(Place::Field("snapshot"), "tensor 'steps' does not name every set"));
        }
        let steps = steps.into_iter().map(i64::unsigned_abs).collect();
        session.host_optimizer = Some(HostOptimizer {
            adam: AdamState { first: read("exp_avg")?, second: read("exp_avg_sq")?, steps },
            gradients: read("gradients")?,
            pending: metadata.get("pending").is_some_and(|pending| pending == "true"),
            steps: metadata.get("optimizer_steps").and_then(|steps| steps.parse().ok()).unwrap_or(0),
        });
    }
    session.values = Rc::new(AdapterValues::new(read("theta")?));
    Ok(())
}

fn find<'a>(tensors: &'a [WireTensor], name: &str) -> Result<&'a WireTensor, EngineError> {
    let found = tensors.iter().find(|tensor| tensor.name() == name);
    found.ok_or_else(|| invalid(Place::Field("snapshot"), format!("it has no tensor '{name}'")))
}

fn steps_to_wire(steps: &[u64]) -> Result<WireTensor, EngineError> {
    let bytes: Vec<u8> = steps.iter().flat_map(|step| step.to_le_bytes()).collect();
    WireTensor::new("steps", Dtype::I64, vec![steps.len()], bytes.into())
        .map_err(|e| EngineError::Internal(e.to_string()))
}

fn layout_digest(session: &Session) -> String {
    let mut digest = Sha256::new();
    for matrix in session.plan.layout() {
        digest.update(format!("{} {:?} {}\n", matrix.name, matrix.shape, matrix.offset));
    }
    let custody = session.settings.custody;
    digest.update(format!("{} {custody:?}", session.settings.adapter_sets));
    digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}
