//! Where the engine computes: the processor, or a GPU whose half of LibTorch is opened when it is there. Owns what follows from that
//! for memory and time: the budget for graphs, giving back what is free, and how long a slice of a pass is.

use tch::Cuda;
use tch::Device;
use tch::Kind;
use tch::Tensor;

use crate::engine::interface::EngineError;
use crate::engine::settings::DeviceSettings;
use crate::model::native;

/// Retained graphs on the processor, where the configuration leaves it to the host.
const PROCESSOR_GRAPH_BYTES: usize = 2 << 30;
/// Tokens of a slice, where the configuration leaves it to the host: what fills the device's products well.
const PROCESSOR_SLICE_TOKENS: usize = 2048;
const GPU_SLICE_TOKENS: usize = 32_768;

/// `cpu`, `cuda` or `cuda:1`.
pub fn parse(name: &str) -> Result<Device, EngineError> {
    let refuse =
        || EngineError::Backbone(format!("engine.device '{name}' is not one of cpu, cuda, cuda:0, cuda:1, ..."));
    match name.split_once(':') {
        None if name == "cpu" => Ok(Device::Cpu),
        None if name == "cuda" => Ok(Device::Cuda(0)),
        Some(("cuda", index)) => index.parse().map(Device::Cuda).map_err(|_| refuse()),
        _ => Err(refuse()),
    }
}

/// Opens the device, and fills in what depends on it.
pub fn open_device(mut settings: DeviceSettings) -> Result<DeviceSettings, EngineError> {
    native::memory_settings();
    let (budget, slice_tokens) = match settings.placement.device {
        Device::Cuda(index) => {
            open_cuda(index)?;
            // The first tensor there is what starts CUDA and its allocator.
            let _started = Tensor::f_zeros([1], (Kind::Float, Device::Cuda(index)))?;
            let (free, total) = native::device_memory(index)?;
            tracing::info!(free, total, "computing on cuda:{index}, {free} of {total} bytes free");
            (gpu_graph_bytes(free), GPU_SLICE_TOKENS)
        }
        _ => (PROCESSOR_GRAPH_BYTES, PROCESSOR_SLICE_TOKENS),
    };
    if settings.graphs.graph_bytes == 0 {
        settings.graphs.graph_bytes = budget;
    }
    if settings.slice_tokens == 0 {
        settings.slice_tokens = slice_tokens.max(settings.stack_tokens);
    }
    Ok(settings)
}

/// Six tenths of what is free at the start: the rest is for the backbone and for a pass.
fn gpu_graph_bytes(free: u64) -> usize {
    usize::try_from(free / 10 * 6).unwrap_or(usize::MAX)
}

fn open_cuda(index: usize) -> Result<(), EngineError> {
    let missing =
        |reason: String| EngineError::Backbone(format!("engine.device cuda:{index} cannot be used: {reason}"));
    let opened = native::open_cuda();
    if !Cuda::is_available() {
        opened.map_err(|error| missing(error.to_string()))?;
        return Err(missing("no CUDA device or driver was found".to_owned()));
    }
    if usize::try_from(Cuda::device_count()).is_ok_and(|count| index < count) {
        Ok(())
    } else {
        Err(missing(format!("there are {} CUDA devices", Cuda::device_count())))
    }
}

/// Gives free memory back to the system.
pub fn trim(device: Device) {
    if matches!(device, Device::Cuda(_))
        && let Err(error) = native::device_trim()
    {
        tracing::warn!(%error, "the device's free memory was not given back: {error}");
    }
    native::heap_trim();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_have_names_and_other_names_are_refused() {
        assert_eq!(parse("cpu"), Ok(Device::Cpu));
        assert_eq!((parse("cuda"), parse("cuda:3")), (Ok(Device::Cuda(0)), Ok(Device::Cuda(3))));
        for bad in ["", "gpu", "cuda:", "cuda:x", "cpu:0", "cuda:-1"] {
            assert!(matches!(parse(bad), Err(EngineError::Backbone(text)) if text.contains(bad)), "{bad}");
        }
    }

    #[test]
    fn a_gpu_leaves_room_for_backbone_and_pass() {
        assert_eq!(gpu_graph_bytes(80_000_000_000), 48_000_000_000);
        assert_eq!(gpu_graph_bytes(0), 0);
    }

    #[test]
    fn without_a_gpu_the_device_is_refused_with_the_reason() {
        if Cuda::is_available() {
            return;
        }
        assert!(matches!(open_cuda(0), Err(EngineError::Backbone(text)) if text.contains("cuda:0")));
    }
}
