//! A generator for tests that draw what they do.

use rand::Rng;
use rand::SeedableRng;
use rand::rngs::StdRng;

/// A seeded generator; `BLINDTUNE_TEST_SEED` repeats a run.
pub fn random(test: &str) -> StdRng {
    let given = std::env::var("BLINDTUNE_TEST_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed: u64 = given.unwrap_or_else(|| rand::rng().random());
    eprintln!("{test}: BLINDTUNE_TEST_SEED={seed}");
    StdRng::seed_from_u64(seed)
}
