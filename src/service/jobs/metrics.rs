//! Scalars that a client chose to report. Owns what a report may hold, and how much of them one job may have; must never read a label.

use std::collections::BTreeMap;

use serde_json::json;
use uuid::Uuid;

use crate::domain::error_code::ErrorCode;
use crate::domain::ids::EventId;
use crate::domain::ids::JobId;
use crate::domain::ids::ProjectId;
use crate::domain::labels::is_label_name;
use crate::domain::limits::LARGEST_NUMBER;
use crate::domain::limits::LARGEST_WHOLE;
use crate::domain::limits::Limits;
use crate::service::access::idempotency::AnswerRecord;
use crate::service::accounting::metering::MeteredCall;
use crate::service::accounting::sent::Sent;
use crate::service::context::Result;
use crate::service::context::commit;
use crate::service::error::ServiceError;
use crate::service::jobs::jobs::Jobs;
use crate::service::lifecycle::transitions::missing;
use crate::store::events;
use crate::store::events::EventKind;
use crate::store::events::EventRow;
use crate::store::events::Level;
use crate::store::events::NewEvent;
use crate::store::events::Reported;
use crate::store::jobs;
use crate::store::ledger;
use crate::store::ledger::LedgerKind;

/// Values that a report counts as, at least: it is an event and a line of the result file, however little it says.
const LEAST: usize = 10;

/// Scalars that a client chose to report.
#[derive(Debug, Clone)]
pub struct MetricsReport {
    /// The client's own step.
    pub step: u64,
    /// By name.
    pub metrics: BTreeMap<String, f64>,
    /// For the ledger.
    pub sent: Sent,
}

impl MetricsReport {
    fn check(&self, limits: &Limits) -> Result<()> {
        if self.step > LARGEST_WHOLE.unsigned_abs() {
            return Err(ServiceError::new(ErrorCode::InvalidMetric, "step: at most 9007199254740991.").at("step"));
        }
        if self.metrics.len() > limits.metric_names_per_job {
            return Err(too_many_names(self.metrics.len(), limits));
        }
        for (name, value) in &self.metrics {
            let param = format!("metrics.{name}");
            if is_label_name(name) {
                return Err(ServiceError::label_present(name, param));
            }
            if name.is_empty() || name.chars().count() > 64 || value.is_nan() || value.abs() > LARGEST_NUMBER {
                return Err(ServiceError::new(
                    ErrorCode::InvalidMetric,
                    format!("{param}: a name of 1 to 64 characters and a number of at most 1e300."),
                )
                .at(param));
            }
        }
        Ok(())
    }
}

impl Jobs {
    /// Takes scalars that the client chose to report, as an event.
    pub async fn metrics(
        &self,
        project: ProjectId,
        id: JobId,
        report: MetricsReport,
        record: AnswerRecord<EventRow>,
    ) -> Result<EventRow> {
        let mut transaction = self.context.begin().await?;
        let job = jobs::get_for_update(&mut transaction, project, id).await?.ok_or_else(|| missing(id))?;
        report.check(&self.context.limits)?;
        let MetricsReport { step, metrics, sent } = report;
        if job.status.is_final() {
            return Err(ServiceError::new(ErrorCode::JobNotRunning, format!("The job is {}.", job.status)));
        }
        let names: Vec<String> = metrics.keys().cloned().collect();
        let values = metrics.len().max(LEAST) as i64;
        check_all(events::count_metrics(&mut transaction, id, &names, values).await?, &self.context.limits)?;
        let call = MeteredCall { kind: LedgerKind::Metrics, seq: None, sent: &sent };
        ledger::append(&mut transaction, &call.entry(id)).await?;
        let mut data = json!(metrics);
        data["step"] = json!(step);
        let event = NewEvent {
            id: EventId(Uuid::now_v7()),
            job: id,
            level: Level::Info,
            kind: EventKind::Metrics,
            message: &format!("Step {step}"),
            data: Some(&data),
        };
        let event = events::append(&mut transaction, &event).await?;
        record.write(&mut transaction, &event).await?;
        commit(transaction).await?;
        Ok(event)
    }
}

/// Refuses a report with which a job has more than its bounds: at its end all of them become one file.
fn check_all(reported: Reported, limits: &Limits) -> Result<()> {
    if reported.names.unsigned_abs() > limits.metric_names_per_job as u64 {
        return Err(too_many_names(reported.names as usize, limits));
    }
    let most = limits.metric_values_per_job;
    if reported.values.unsigned_abs() > most {
        let message = format!(
            "A job's reports have {most} values in all, each report counted as {LEAST} at least (limits.metric_values_per_job): report \
             less often."
        );
        return Err(ServiceError::new(ErrorCode::TooManyMetrics, message).at("metrics"));
    }
    Ok(())
}

fn too_many_names(names: usize, limits: &Limits) -> ServiceError {
    let most = limits.metric_names_per_job;
    let message = format!("A job's metrics have at most {most} names (limits.metric_names_per_job), not {names}.");
    ServiceError::new(ErrorCode::TooManyMetrics, message).at("metrics")
}
