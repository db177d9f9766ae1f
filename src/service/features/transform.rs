//! The transform of a features job: projection and scales, made from a sample of the job's own rows. Owns how it is found, without a
//! label, and that the same job finds the same one; the engine applies it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use rand::Rng;
use rand::SeedableRng;
use rand::rngs::StdRng;

use crate::domain::features::FeatureSettings;
use crate::domain::features::Projection;
use crate::domain::features::ProjectionKind;
use crate::domain::ids::JobId;
use crate::domain::limits::Limits;
use crate::domain::taps::TapDtype;
use crate::domain::taps::Taps;
use crate::domain::tensor::WireTensor;
use crate::domain::transform::Part;
use crate::domain::transform::Transform;
use crate::engine::EngineError;
use crate::engine::ForwardReply;
use crate::engine::Moments;
use crate::engine::codec::parse_safetensors;
use crate::service::context::Result;
use crate::service::error::ServiceError;
use crate::service::features::shard::Run;
use crate::service::features::shard::Stop;
use crate::service::features::size::TRANSFORM_SAMPLE;

/// Largest magnitude of an 8-bit integer that stands for a value.
const INT8: f32 = 127.0;

/// A transform, and what finding it took.
pub struct Fitted {
    /// The transform.
    pub transform: Transform,
    /// Tokens that the device read.
    pub tokens: usize,
    /// What the device took.
    pub device: Duration,
}

/// Finds the transform of a job: once over the sample for principal components, and once for scales.
pub async fn fit(run: &Run<'_>, settings: &FeatureSettings) -> std::result::Result<Fitted, Stop> {
    let transform =
        Transform { id: run.job, parts: settings.names().into_iter().map(|name| (name, Part::default())).collect() };
    let mut fitted = Fitted { transform, tokens: 0, device: Duration::ZERO };
    let width = run.opened.info.hidden_size;
    match settings.project {
        Some(Projection { kind: ProjectionKind::Pca, dim, .. }) => {
            find_components(run, settings, &mut fitted, dim).await?
        }
        Some(Projection { kind: ProjectionKind::Orthogonal, dim, seed }) => {
            for (number, part) in fitted.transform.parts.values_mut().enumerate() {
                let directions = orthonormal(width, dim, seed ^ (number as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15));
                part.projection = Some([
                    floats("mean", vec![width], &vec![0.0; width])?,
                    floats("components", vec![width, dim], &directions)?,
                ]);
            }
        }
        None => {}
    }
    if settings.dtype == TapDtype::Int8 {
        find_scales(run, settings, &mut fitted).await?;
    }
    Ok(fitted)
}

fn floats(name: &str, shape: Vec<usize>, values: &[f32]) -> Result<WireTensor> {
    WireTensor::from_f32(name, shape, values).map_err(ServiceError::internal)
}

/// Shows `each` the float32 states of the sample, in the order of its rows.
async fn over_sample(
    run: &Run<'_>,
    taps: Taps,
    fitted: &mut Fitted,
    each: impl FnMut(&ForwardReply) -> std::result::Result<(), EngineError>,
) -> std::result::Result<(), Stop> {
    let rows = run.file.rows.unsigned_abs();
    let count = TRANSFORM_SAMPLE.min(rows);
    let numbers: Vec<u64> =
        (0..count).map(|place| (u128::from(place) * u128::from(rows) / u128::from(count)) as u64).collect();
    let run = Run { taps: Arc::new(taps), ..*run };
    let (tokens, device) = run.rows(&numbers, each).await?;
    fitted.tokens += tokens;
    fitted.device += device;
    Ok(())
}

/// The states of a reply by the names that a transform has for them.
fn states(reply: &ForwardReply) -> impl Iterator<Item = (&str, &WireTensor)> {
    reply.tensors.iter().filter_map(|tensor| Some((tensor.name().strip_prefix("hidden.")?, tensor)))
}

async fn find_components(
    run: &Run<'_>,
    settings: &FeatureSettings,
    fitted: &mut Fitted,
    dim: usize,
) -> std::result::Result<(), Stop> {
    let mut moments = BTreeMap::new();
    for name in settings.names() {
        moments.insert(name, Moments::new(run.opened.info.hidden_size).map_err(ServiceError::from)?);
    }
    let plain = Taps { dtype: TapDtype::Float32, transform: None, ..settings.taps() };
    over_sample(run, plain, fitted, |reply| {
        states(reply).try_for_each(|(name, states)| match moments.get_mut(name) {
            Some(moments) => moments.add(states),
            None => Ok(()),
        })
    })
    .await?;
    for (name, moments) in moments {
        let found =
            tokio::task::spawn_blocking(move || moments.principal(dim)).await.map_err(ServiceError::internal)?;
        if let Some(part) = fitted.transform.parts.get_mut(&name) {
            part.projection = Some(found.map_err(ServiceError::from)?);
        }
        run.hold().await?;
    }
    Ok(())
}

/// The largest magnitude of each feature in the sample becomes 127; what is larger elsewhere is cut there.
async fn find_scales(run: &Run<'_>, settings: &FeatureSettings, fitted: &mut Fitted) -> std::result::Result<(), Stop> {
    let projected = Some(Arc::new(fitted.transform.clone()));
    let taps = Taps { dtype: TapDtype::Float32, transform: projected, ..settings.taps() };
    let mut largest: BTreeMap<String, Vec<f32>> = BTreeMap::new();
    over_sample(run, taps, fitted, |reply| {
        for (name, states) in states(reply) {
            let width = states.shape().last().copied().unwrap_or(1);
            let most = largest.entry(name.to_owned()).or_insert_with(|| vec![0.0; width]);
            for row in states.floats().unwrap_or_default().chunks_exact(width) {
                most.iter_mut().zip(row).for_each(|(most, value)| *most = most.max(value.abs()));
            }
        }
        Ok(())
    })
    .await?;
    for (name, most) in largest {
        let scale: Vec<f32> = most.iter().map(|most| if *most / INT8 > 0.0 { *most / INT8 } else { 1.0 }).collect();
        if let Some(part) = fitted.transform.parts.get_mut(&name) {
            part.scale = Some(floats("scale", vec![scale.len()], &scale)?);
        }
    }
    Ok(())
}

/// `dim` random orthonormal directions `[width, dim]`: Gaussian vectors, made orthogonal one after the other (Gram-Schmidt, twice).
fn orthonormal(width: usize, dim: usize, seed: u64) -> Vec<f32> {
    let mut random = StdRng::seed_from_u64(seed);
    let mut uniform = || (random.random::<u64>() >> 11) as f64 / (1u64 << 53) as f64;
    let mut directions: Vec<Vec<f64>> = Vec::with_capacity(dim);
    while directions.len() < dim {
        // Box-Muller; 1 - u is never zero.
        let mut one: Vec<f64> = (0..width)
            .map(|_| (-2.0 * (1.0 - uniform()).ln()).sqrt() * (std::f64::consts::TAU * uniform()).cos())
            .collect();
        for other in directions.iter().chain(&directions) {
            let along: f64 = one.iter().zip(other).map(|(a, b)| a * b).sum();
            one.iter_mut().zip(other).for_each(|(value, other)| *value -= along * other);
        }
        let norm = one.iter().map(|value| value * value).sum::<f64>().sqrt();
        // A draw that lies in what the others span would leave rounding alone; another is as good.
        if norm > 1e-6 {
            one.iter_mut().for_each(|value| *value /= norm);
            directions.push(one);
        }
    }
    (0..width).flat_map(|row| directions.iter().map(move |direction| direction[row] as f32)).collect()
}

/// Reads a transform's file.
pub fn read(id: JobId, bytes: bytes::Bytes, limits: &Limits) -> Result<Transform> {
    // It is the host's own file: as large as the backbone makes it.
    let limits = Limits { tensor_body_bytes: usize::MAX, ..limits.for_adapters() };
    Ok(Transform::from_tensors(id, parse_safetensors(bytes, &limits)?.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directions_are_orthonormal_and_follow_from_the_seed() {
        let (width, dim) = (24, 24);
        let found = orthonormal(width, dim, 7);
        assert_eq!(found, orthonormal(width, dim, 7));
        assert_ne!(found, orthonormal(width, dim, 8));
        let column = |at: usize| found.iter().skip(at).step_by(dim).copied().collect::<Vec<f32>>();
        for (a, b) in (0..dim).flat_map(|a| (0..dim).map(move |b| (a, b))) {
            let product: f32 = column(a).iter().zip(column(b)).map(|(x, y)| x * y).sum();
            assert!((product - f32::from(u8::from(a == b))).abs() < 1e-5, "{a} and {b}: {product}");
        }
    }
}
