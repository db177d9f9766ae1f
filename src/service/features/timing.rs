//! How long a features job would take. Owns the measurement: a few of its own forwards, whose results are dropped.

use std::sync::Arc;
use std::time::Duration;

use crate::engine::Inputs;
use crate::service::context::Result;
use crate::service::features::admission::Planned;
use crate::service::features::worker::Features;
use crate::service::files::row_reader::read_rows;
use crate::service::inference::runnable::rows_per_forward;

/// Forwards that are run, the first for warming up.
const FORWARDS: u64 = 5;
/// Tokens of one of them, where the sizes of rows are given.
const TOKENS: usize = 4096;

/// What was measured.
pub struct Timed {
    /// The median over the forwards.
    pub seconds_per_token: f64,
    /// Forwards that were measured.
    pub forwards: usize,
}

impl Features {
    /// Runs a few forwards of the job, spread over its rows.
    pub async fn time(&self, plan: &Planned) -> Result<Timed> {
        let step = rows_per_forward(&self.context.limits, plan.opened.info.max_tokens) as u64;
        let mut times = Vec::new();
        for number in 0..FORWARDS {
            let first = (u128::from(plan.rows) * u128::from(number) / u128::from(FORWARDS)) as u64;
            let inputs = match &plan.file {
                Some(file) => {
                    let numbers: Vec<u64> = (first..(first + step).min(plan.rows)).collect();
                    read_rows(&self.context, file, &numbers).await?
                }
                None => plan.made_up(step),
            };
            let (tokens, took) = self.run_once(plan, inputs).await?;
            if number > 0 {
                times.push(took.as_secs_f64() / tokens as f64);
            }
        }
        times.sort_by(f64::total_cmp);
        Ok(Timed { seconds_per_token: times[times.len() / 2], forwards: times.len() })
    }

    async fn run_once(&self, plan: &Planned, inputs: Inputs) -> Result<(usize, Duration)> {
        let taps = Arc::new(plan.settings.taps());
        let (reply, took) = plan.opened.forward(&self.context, &inputs, &taps, None).await?;
        Ok((reply.tokens, took))
    }
}

impl Planned {
    /// Rows of the given size; what their tokens are does not matter to the time.
    fn made_up(&self, most_rows: u64) -> Inputs {
        let per_row = (self.tokens / self.rows).max(1) as usize;
        let rows = (TOKENS / per_row).clamp(1, most_rows as usize).min(self.rows as usize);
        let (vocabulary, eos) = (self.opened.info.vocab_size, self.opened.info.eos);
        let row = |number: usize| {
            let mut ids: Vec<i64> = (0..per_row).map(|place| ((number * 31 + place) % vocabulary) as i64).collect();
            if let (Some(eos), Some(last)) = (eos, ids.last_mut()) {
                *last = eos;
            }
            ids
        };
        Inputs::Tokens { ids: (0..rows).map(row).collect(), types: None }
    }
}
