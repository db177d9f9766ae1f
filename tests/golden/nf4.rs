//! Four-bit weights are bitsandbytes' (scripts/fixtures/make_nf4.py): codes and scales bit for bit, the products those of the
//! dequantized weight.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use blindtune::domain::limits::Limits;
use blindtune::domain::settings::Custody;
use blindtune::domain::settings::Precision;
use blindtune::domain::tensor::WireTensor;
use blindtune::engine::Engine;
use blindtune::engine::ForwardCall;
use blindtune::engine::codec::parse_safetensors;
use blindtune::model::native;
use blindtune::model::nf4;
use tch::Kind;
use tch::Tensor;

use crate::support::Case;
use crate::support::World;
use crate::support::call;
use crate::support::config;
use crate::support::difference;
use crate::support::job;
use crate::support::spec;

struct Reference(HashMap<String, WireTensor>);

impl Reference {
    fn read() -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/nf4.safetensors");
        let limits = Limits { tensors_per_body: 256, ..Limits::default() };
        let (tensors, _) = parse_safetensors(fs::read(path).expect("reads").into(), &limits).expect("safetensors");
        Self(tensors.into_iter().map(|tensor| (tensor.name().to_owned(), tensor)).collect())
    }

    fn floats(&self, name: &str) -> Vec<f32> {
        self.0[name].floats().expect("floats")
    }

    fn integers(&self, name: &str) -> Vec<u8> {
        let bytes = self.0[name].bytes();
        bytes.chunks_exact(4).map(|four| i32::from_le_bytes(four.try_into().expect("four")) as u8).collect()
    }

    /// What the codes of a weight stand for: levels times scales.
    fn meant(&self, name: &str, scales: &[f32]) -> Vec<f32> {
        let levels = self.floats("levels");
        let codes = self.integers(&format!("{name}.packed"));
        let codes = codes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
        codes.enumerate().map(|(i, code)| levels[usize::from(code)] * scales[i / 64]).collect()
    }

    fn weight(&self, name: &str) -> Tensor {
        let wire = &self.0[&format!("{name}.weight")];
        let shape: Vec<i64> = wire.shape().iter().map(|&dim| dim as i64).collect();
        Tensor::from_slice(&wire.floats().expect("floats")).view(&shape[..])
    }
}

fn floats(tensor: &Tensor) -> Vec<f32> {
    Vec::try_from(tensor.flatten(0, -1)).expect("floats")
}

/// Numbers without a random generator: LibTorch's is one for the process, and other tests seed it.
fn waves(rows: i64, columns: i64) -> Tensor {
    Tensor::arange(rows * columns, (Kind::Float, tch::Device::Cpu)).multiply_scalar(0.7).sin().view([rows, columns])
}

fn bytes(tensor: &Tensor) -> Vec<u8> {
    Vec::try_from(tensor).expect("bytes")
}

#[test]
fn codes_scales_and_weights_are_bitsandbytes() {
    let reference = Reference::read();
    for name in ["square", "ragged", "zeros"] {
        let weight = reference.weight(name);
        let plain = nf4::quantize(&weight, false).expect("quantizes");
        assert_eq!(bytes(&plain.codes), reference.integers(&format!("{name}.packed")), "{name}");
        assert_eq!(floats(&plain.absmax), reference.floats(&format!("{name}.absmax")), "{name}");
        let whole = plain.dequantize().expect("dequantizes");
        assert_eq!(whole.size(), weight.size());
        assert_eq!(floats(&whole), reference.meant(name, &reference.floats(&format!("{name}.absmax"))), "{name}");
        // bitsandbytes' own dequantization on the CPU mistakes the blocks of rows that are no multiple of 64.
        if name == "square" {
            assert_eq!(floats(&whole), reference.floats("square.dequantized"));
        }
    }
}

#[test]
fn double_quantization_is_bitsandbytes() {
    let reference = Reference::read();
    for name in ["square", "ragged", "zeros"] {
        let double = nf4::quantize(&reference.weight(name), true).expect("quantizes");
        assert_eq!(bytes(&double.absmax), reference.integers(&format!("{name}.double.codes")), "{name}");
        let whole = floats(&double.dequantize().expect("dequantizes"));
        let expected = reference.meant(name, &reference.floats(&format!("{name}.double.scales")));
        // The mean of the scales is summed in another order: the last bit of an offset may differ.
        for (got, expected) in whole.iter().zip(&expected) {
            assert!((got - expected).abs() <= 1e-6 * expected.abs().max(1e-3), "{name}: {got} {expected}");
        }
    }
}

#[test]
fn products_and_their_backward_are_those_of_the_dequantized_weight() {
    let reference = Reference::read();
    for double in [false, true] {
        let parts = nf4::quantize(&reference.weight("square"), double).expect("quantizes");
        let weight = parts.dequantize().expect("dequantizes");
        for rows in [1, 5, 200] {
            let x = waves(rows, 64).set_requires_grad(true);
            let bias = waves(1, 48).squeeze();
            let y = parts.linear(&x, Some(&bias)).expect("multiplies");
            let expected = x.linear(&weight, Some(&bias));
            assert!(f64::try_from((&y - &expected).abs().max()).expect("a number") < 1e-5);
            let gradient = Tensor::run_backward(&[y.square().sum(Kind::Float)], &[&x], false, false);
            let expected = y.detach().multiply_scalar(2.0).matmul(&weight);
            assert!(f64::try_from((&gradient[0] - expected).abs().max()).expect("a number") < 1e-4);
        }
    }
}

#[test]
fn a_weight_that_is_no_multiple_of_a_block_is_refused() {
    let odd = Tensor::zeros([3, 50], (Kind::Float, tch::Device::Cpu));
    assert!(native::nf4_quantize(&odd).is_err());
}

/// Of a model whose weights are those that its codes stand for, 4 bits lose nothing.
#[tokio::test]
async fn a_four_bit_backbone_is_the_backbone_with_dequantized_weights() {
    for (name, double) in [("llama2-last", false), ("llama2-last", true), ("llama-none", false)] {
        let case = Case::read(name);
        let mut four = spec(job(1), &case, Custody::Client);
        (four.settings.precision, four.settings.double_quant) = (Precision::Nf4, double);
        let folder = tempfile::tempdir().expect("a folder");
        dequantized(&case, folder.path(), double);
        let mut plain = spec(job(1), &case, Custody::Client);
        plain.folder = folder.path().to_owned();
        let (four, plain) = (World::with(config(), four).await, World::with(config(), plain).await);
        let forward = |number| ForwardCall { theta: case.theta(), base: true, ..call(&case, number) };
        let (a, b) = (four.forward(forward(1)).await.expect("runs"), plain.forward(forward(1)).await.expect("runs"));
        let (g, h) = (four.gradients(1, case.shares()).await, plain.gradients(1, case.shares()).await);
        for (got, expected) in a.tensors.iter().chain(&g).zip(b.tensors.iter().chain(&h)) {
            if got.name() != "lengths" {
                assert!(difference(got, expected) < 1e-5, "{name}: {}", got.name());
            }
        }
        // And they are not the file's own.
        assert!(difference(&a.tensors[0], &case.tensors["h.0"]) > 1e-3, "{name}");
    }
}

/// The case's folder with every linear weight quantized and dequantized.
pub fn dequantized(case: &Case, folder: &Path, double: bool) {
    let mut tensors = Tensor::read_safetensors(case.folder.join("model.safetensors")).expect("reads");
    for (name, weight) in &mut tensors {
        if name.ends_with("_proj.weight") {
            *weight = nf4::quantize(weight, double).and_then(|parts| parts.dequantize()).expect("quantizes");
        }
    }
    Tensor::write_safetensors(&tensors, folder.join("model.safetensors")).expect("writes");
    fs::copy(case.folder.join("config.json"), folder.join("config.json")).expect("copies");
}

#[tokio::test]
async fn four_bits_are_refused_for_encoders() {
    let case = Case::read("bert-gelu-cls");
    let world = World::new(&case, Custody::Client).await;
    let mut four = spec(job(1), &case, Custody::Client);
    four.settings.precision = Precision::Nf4;
    let refused = world.engine.load(four).await.expect_err("an encoder").to_string();
    assert!(refused.starts_with("precision:") && refused.contains("decoder"), "{refused}");
}
