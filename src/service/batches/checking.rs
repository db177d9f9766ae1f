//! The lines of a batch, before any is answered. Owns that each can be read, is named once, and asks a model that its project may run;
//! what its body says beyond that is for the endpoint to judge.

use std::collections::HashMap;
use std::collections::HashSet;

use crate::domain::batch::LineFault;
use crate::domain::batch::RequestLine;
use crate::domain::batch::read_line;
use crate::domain::error_code::ErrorCode;
use crate::service::batches::turns::Stop;
use crate::service::batches::turns::Work;
use crate::service::context::Result;
use crate::service::files::row_reader::read_records;
use crate::store::batches::BatchError;
use crate::store::models;

/// Lines that are read at once.
const LINES: u64 = 64;
/// Faults that are told at most.
const FAULTS: usize = 100;

/// What was found.
#[derive(Default)]
pub struct Checked {
    /// What is wrong, the first hundred of it.
    pub faults: Vec<BatchError>,
    /// Names of the models, and whether the project may run each.
    models: HashMap<String, bool>,
    seen: HashSet<String>,
}

impl Checked {
    /// The one model of all lines.
    pub fn model(&self) -> Option<&str> {
        let mut names = self.models.keys();
        names.next().filter(|_| names.next().is_none()).map(String::as_str)
    }
}

/// Checks every line of the batch.
pub async fn check(work: &Work<'_>) -> std::result::Result<Checked, Stop> {
    let file = work.file().await?;
    let rows = file.rows.unsigned_abs();
    let mut checked = Checked::default();
    let mut first = 0;
    while first < rows && checked.faults.len() < FAULTS {
        let numbers: Vec<u64> = (first..(first + LINES).min(rows)).collect();
        for (record, number) in read_records(work.context, &file, &numbers).await?.iter().zip(&numbers) {
            let fault = match read_line(record, work.batch.endpoint) {
                Err(fault) => Some(fault),
                Ok(line) => checked.fault_of(work, line).await?,
            };
            checked.faults.extend(fault.map(|fault| at_line(fault, *number)));
        }
        first += LINES;
    }
    checked.faults.truncate(FAULTS);
    Ok(checked)
}

impl Checked {
    /// What is wrong with a line that can be read, if anything.
    async fn fault_of(&mut self, work: &Work<'_>, line: RequestLine) -> Result<Option<LineFault>> {
        let RequestLine { custom_id, model, .. } = line;
        if self.seen.contains(&custom_id) {
            let message = "custom_id: an earlier line has the same; each is unique in its file.";
            return Ok(Some(LineFault::at("custom_id", "duplicate_custom_id", message)));
        }
        self.seen.insert(custom_id);
        let is_known = match self.models.get(&model) {
            Some(known) => *known,
            None => {
                let mut connection = work.context.connection().await?;
                let found = models::get_visible(&mut connection, work.batch.project, &model).await?.is_some();
                self.models.insert(model.clone(), found);
                found
            }
        };
        let fault = || LineFault::at("body.model", ErrorCode::NotFound.as_str(), format!("No such model: {model}"));
        Ok((!is_known).then(fault))
    }
}

fn at_line(fault: LineFault, number: u64) -> BatchError {
    BatchError {
        code: fault.code.to_owned(),
        message: fault.message,
        param: fault.param.map(str::to_owned),
        line: Some(number.cast_signed() + 1),
    }
}
