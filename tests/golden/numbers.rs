//! The engine's numbers are those of transformers, PEFT and torch.optim.AdamW: 1e-5 relative in float32, 2e-2 with a bfloat16
//! backbone.

use blindtune::domain::settings::Custody;
use blindtune::domain::settings::Precision;
use blindtune::domain::tensor::WireTensor;
use blindtune::engine::BackwardReply;
use blindtune::engine::Engine;
use blindtune::engine::ForwardCall;

use crate::support::Case;
use crate::support::World;
use crate::support::call;
use crate::support::cases;
use crate::support::close;
use crate::support::config;
use crate::support::job;
use crate::support::mild_cases;
use crate::support::named;
use crate::support::spec;

const MOST: f64 = 1e-5;

#[tokio::test]
async fn the_layout_is_pefts() {
    for case in cases() {
        let world = World::new(&case, Custody::Client).await;
        let layout: Vec<_> = world.info.layout.iter().map(|slot| (slot.name.clone(), slot.shape)).collect();
        assert_eq!(layout, case.layout(), "{}", case.name);
        assert_eq!(world.info.adapter_parameters, case.theta()[0].1.len());
    }
}

#[tokio::test]
async fn activations_and_gradients_equal_peft() {
    for case in cases() {
        let world = World::new(&case, Custody::Client).await;
        let forward = ForwardCall { theta: case.theta(), base: true, ..call(&case, 1) };
        let reply = world.forward(forward).await.expect("runs");
        for name in ["h.0", "h.1", "h.base"] {
            close(&case, named(&reply.tensors)[name], name, MOST);
        }
        let gradients = world.gradients(1, case.shares()).await;
        assert_eq!(gradients.len(), 4);
        for gradient in &gradients {
            close(&case, gradient, gradient.name(), MOST);
        }
    }
}

#[tokio::test]
async fn a_bfloat16_backbone_stays_within_two_percent() {
    for case in mild_cases() {
        for (precision, most) in [(Precision::Float32, MOST), (Precision::Bfloat16, 2e-2)] {
            let mut spec = spec(job(1), &case, Custody::Client);
            spec.settings.precision = precision;
            let world = World::with(config(), spec).await;
            let forward = ForwardCall { theta: case.theta(), base: true, ..call(&case, 1) };
            let reply = world.forward(forward).await.expect("runs");
            let gradients = world.gradients(1, case.shares()).await;
            let found: Vec<&WireTensor> = reply.tensors.iter().chain(&gradients).collect();
            assert_eq!(found.len(), 7);
            for tensor in found {
                close(&case, tensor, tensor.name(), most);
            }
        }
    }
}

#[tokio::test]
async fn evaluation_equals_the_training_pass_without_dropout() {
    for case in cases() {
        let world = World::ready(&case, Custody::Client).await;
        let forward = ForwardCall { keep: None, adapters: vec![1], ..call(&case, 1) };
        let reply = world.forward(forward).await.expect("runs");
        close(&case, &reply.tensors[0], "h.1", MOST);
        let names: Vec<&str> = reply.tensors.iter().map(|tensor| tensor.name()).collect();
        match case.json["pooling"] == "none" {
            false => assert_eq!(names, ["h.1"]),
            true => {
                assert_eq!(names, ["h.1", "lengths"]);
                let ids: Vec<Vec<i64>> = serde_json::from_value(case.json["ids"].clone()).expect("ids");
                let lengths: Vec<i64> = ids.iter().map(|input| input.len() as i64).collect();
                assert_eq!(reply.tensors[1].integers(), Some(lengths));
            }
        }
    }
}

#[tokio::test]
async fn two_optimizer_steps_equal_torchs_adamw() {
    for case in cases() {
        let world = World::ready(&case, Custody::Host).await;
        // Both golden steps take the gradients at the first values: a kept forward runs at the values it was made with.
        world.forward(call(&case, 1)).await.expect("runs");
        for step in 1..=2 {
            // In two backwards: the host sums over calls as well as over shares.
            let mut shares = case.shares();
            let rest = shares.split_off(1);
            world.backward(1, shares).await.expect("runs");
            assert!(matches!(world.backward(1, rest).await, Ok(BackwardReply::Accumulated(norms)) if norms.len() == 2));
            let reply = world.engine.optim_step(world.job, case.adamw()).await.expect("steps").answer;
            assert_eq!(reply.step, step);
            let norms = case.tensors["norms"].floats().expect("floats");
            for (got, expected) in reply.gradient_norms.iter().zip(&norms) {
                assert!((got / f64::from(*expected) - 1.0).abs() < 1e-5);
            }
            let total = f64::from(case.tensors["norm"].floats().expect("floats")[0]);
            assert!((reply.clipped_norm / total.min(0.5) - 1.0).abs() < 1e-4);
            for set in 0..2 {
                let theta = world.engine.adapter(world.job, set).await.expect("is there");
                close(&case, &theta, &format!("stepped.{step}.{set}"), MOST);
            }
        }
    }
}

#[tokio::test]
async fn gradients_are_the_slopes_of_the_activations() {
    let case = Case::read("bert-gelu-cls");
    let world = World::ready(&case, Custody::Client).await;
    world.forward(call(&case, 1)).await.expect("runs");
    let share = case.share(0, 0);
    let gradient = world.gradients(1, vec![share.clone()]).await[0].floats().expect("floats");
    let theta = case.theta()[0].1.floats().expect("floats");
    let weights = share.tensor.floats().expect("floats");
    let norm = gradient.iter().map(|value| value * value).sum::<f32>().sqrt();
    let step = 2e-3;
    let mut sums = [0.0_f64; 2];
    for (sum, sign) in sums.iter_mut().zip([1.0, -1.0]) {
        let moved: Vec<f32> = theta.iter().zip(&gradient).map(|(t, g)| t + sign * step * g / norm).collect();
        let moved = WireTensor::from_f32("theta.0", vec![moved.len()], &moved).expect("fits");
        let forward = ForwardCall { keep: None, adapters: vec![0], theta: vec![(0, moved)], ..call(&case, 1) };
        let h = world.forward(forward).await.expect("runs").tensors[0].floats().expect("floats");
        *sum = h.iter().zip(&weights).map(|(h, w)| f64::from(*h) * f64::from(*w)).sum();
    }
    let slope = (sums[0] - sums[1]) / (2.0 * f64::from(step));
    assert!((slope / f64::from(norm) - 1.0).abs() < 1e-2, "slope {slope}, norm {norm}");
}
