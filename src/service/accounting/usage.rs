//! Reports of use. Owns what a report covers and how long it may be; must never count anything itself.

use std::sync::Arc;

use time::Date;
use time::Duration;
use time::OffsetDateTime;

use crate::domain::error_code::ErrorCode;
use crate::domain::ids::KeyId;
use crate::domain::ids::ProjectId;
use crate::domain::prices::Work;
use crate::service::access::budgets;
use crate::service::access::budgets::HeldBudget;
use crate::service::context::Context;
use crate::service::context::Result;
use crate::service::error::ServiceError;
use crate::store::usage;
use crate::store::usage::Grouping;
use crate::store::usage::Period;
use crate::store::usage::UsageRow;

/// The longest time that a report covers.
const LONGEST_REPORT: Duration = Duration::days(366);

/// The most rows of a report by job.
const MOST_ROWS: i64 = 10_000;

/// What is asked of the record of use.
#[derive(Debug, Clone, Copy)]
pub struct Asked {
    /// The key that asks, whose budgets are told.
    pub key: KeyId,
    /// First day.
    pub from: Option<Date>,
    /// Last day.
    pub to: Option<Date>,
    /// How rows are put together.
    pub by: Grouping,
}

/// A row, and what it costs where there are prices.
#[derive(Debug, Clone)]
pub struct Priced {
    /// The row.
    pub row: UsageRow,
    /// In the host's currency.
    pub cost: Option<f64>,
}

/// A usage report.
#[derive(Debug, Clone)]
pub struct Report {
    /// First day.
    pub from: Date,
    /// Last day.
    pub to: Date,
    /// Grouped as requested.
    pub rows: Vec<Priced>,
    /// Whether rows are left out, of which there are more than a report has.
    pub truncated: bool,
    /// The total.
    pub total: Priced,
    /// Of the costs, where there are prices.
    pub currency: Option<String>,
    /// Budgets of this calendar month, whatever the days of the report: the key's own and the project's.
    pub budgets: Vec<HeldBudget>,
}

/// Use cases on records of use.
pub struct Usage(pub Arc<Context>);

impl Usage {
    /// What a project used; the last 30 days where no days are given.
    pub async fn report(&self, project: ProjectId, asked: Asked) -> Result<Report> {
        let Asked { key, from, to, by } = asked;
        let to = to.unwrap_or_else(|| OffsetDateTime::now_utc().date());
        let from = from.unwrap_or_else(|| to.saturating_sub(Duration::days(29)));
        if from > to || to - from > LONGEST_REPORT {
            let message = "start_date: must be at most end_date, and at most 366 days before it.";
            return Err(ServiceError::new(ErrorCode::InvalidDates, message).at("start_date"));
        }
        let period = Period { from, to };
        let mut connection = self.0.connection().await?;
        let mut rows = if by.job {
            usage::report_by_job(&mut connection, project, period, by.day, MOST_ROWS + 1).await?
        } else {
            usage::report(&mut connection, project, period, by).await?
        };
        let truncated = by.job && rows.len() > MOST_ROWS as usize;
        rows.truncate(if truncated { MOST_ROWS as usize } else { rows.len() });
        let total = usage::report(&mut connection, project, period, Grouping::default()).await?.into_iter().next();
        let nothing = UsageRow { key: None, job: None, model: None, day: None, amounts: usage::Amounts::default() };
        let budgets = budgets::all(&mut connection, project, key).await?;
        let rows = rows.into_iter().map(|row| self.priced(row)).collect();
        let (total, currency) = (self.priced(total.unwrap_or(nothing)), self.0.prices.currency().map(str::to_owned));
        Ok(Report { from, to, rows, truncated, total, currency, budgets })
    }

    fn priced(&self, row: UsageRow) -> Priced {
        let work = Work {
            training_tokens: row.amounts.training_tokens as f64,
            inference_tokens: row.amounts.inference_tokens as f64,
            device_seconds: row.amounts.device_us as f64 / 1e6,
        };
        Priced { cost: self.0.prices.cost(&work), row }
    }
}
