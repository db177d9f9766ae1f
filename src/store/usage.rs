//! Rows of usage. Owns tables `usage`, counters by project, key, model and day (UTC), and `job_usage`, those by job and day. Must never hold what
//! was computed.

use time::Date;

use crate::domain::ids::JobId;
use crate::domain::ids::KeyId;
use crate::domain::ids::ProjectId;
use crate::domain::quota::Used;
use crate::store::error::Result;
use crate::store::pool::Connection;

/// What one call, or several, used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Amounts {
    /// Answered requests.
    pub requests: i64,
    /// Step calls that were applied.
    pub steps: i64,
    /// Tokens of training steps: of a forward, and of a backward once for each share number.
    pub training_tokens: i64,
    /// Tokens of evaluations and of inference.
    pub inference_tokens: i64,
    /// Bytes of bodies that came in.
    pub bytes_in: i64,
    /// Bytes of tensors that went out.
    pub bytes_out: i64,
    /// Time of the device, waiting for it not included, in microseconds.
    pub device_us: i64,
}

/// Which days (UTC) a report covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Period {
    /// The first.
    pub from: Date,
    /// The last.
    pub to: Date,
}

/// How rows are put together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Grouping {
    /// One row for each key.
    pub key: bool,
    /// One row for each model.
    pub model: bool,
    /// One row for each day.
    pub day: bool,
    /// One row for each job: without key and model, and of what is a job's alone.
    pub job: bool,
}

/// Who used something.
#[derive(Debug, Clone, Copy)]
pub struct Consumer<'a> {
    /// The tenant.
    pub project: ProjectId,
    /// The key.
    pub key: KeyId,
    /// Name of the model; empty for requests that need none.
    pub model: &'a str,
    /// The job that it was for; `None` for a request that is no job's.
    pub job: Option<JobId>,
}

/// A row of a report; what is not grouped by is `None`.
#[derive(Debug, Clone, PartialEq)]
pub struct UsageRow {
    pub key: Option<KeyId>,
    pub job: Option<JobId>,
    /// The model; empty for requests that need none.
    pub model: Option<String>,
    /// The day (UTC).
    pub day: Option<Date>,
    pub amounts: Amounts,
}

/// Adds to today's counters of a project, key and model, in one of several rows: calls at the same time do not wait for each other. What is
/// a job's is counted in its own row too.
/// A project that was deleted meanwhile has no counters.
pub async fn add(conn: &mut Connection, consumer: &Consumer<'_>, amounts: &Amounts) -> Result<()> {
    sqlx::query!(
        "with of_job as (
             insert into job_usage as u (job_id, day, project_id, steps, training_tokens, inference_tokens, bytes_in, bytes_out, device_us)
             select $11, (now() at time zone 'UTC')::date, id, $5, $6, $7, $8, $9, $10
             from projects where id = $1 and $11::uuid is not null
             on conflict (job_id, day) do update set steps = u.steps + excluded.steps,
                 training_tokens = u.training_tokens + excluded.training_tokens,
                 inference_tokens = u.inference_tokens + excluded.inference_tokens,
                 bytes_in = u.bytes_in + excluded.bytes_in, bytes_out = u.bytes_out + excluded.bytes_out,
                 device_us = u.device_us + excluded.device_us)
         insert into usage as u (project_id, key_id, model, day, requests, steps, training_tokens, inference_tokens,
             bytes_in, bytes_out, device_us, shard)
         select id, $2, $3, (now() at time zone 'UTC')::date, $4, $5, $6, $7, $8, $9, $10, floor(random() * 16)
         from projects where id = $1
         on conflict (project_id, day, key_id, model, shard) do update set requests = u.requests + excluded.requests,
             steps = u.steps + excluded.steps, training_tokens = u.training_tokens + excluded.training_tokens,
             inference_tokens = u.inference_tokens + excluded.inference_tokens,
             bytes_in = u.bytes_in + excluded.bytes_in, bytes_out = u.bytes_out + excluded.bytes_out,
             device_us = u.device_us + excluded.device_us",
        consumer.project.0,
        consumer.key.0,
        consumer.model,
        amounts.requests,
        amounts.steps,
        amounts.training_tokens,
        amounts.inference_tokens,
        amounts.bytes_in,
        amounts.bytes_out,
        amounts.device_us,
        consumer.job.map(|job| job.0),
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// What the project used in a period.
pub async fn report(conn: &mut Connection, project: ProjectId, period: Period, by: Grouping) -> Result<Vec<UsageRow>> {
    let rows = sqlx::query!(
        r#"select case when $4 then key_id end as "key: KeyId", case when $5 then model end as model,
                  case when $6 then day end as day, sum(requests)::bigint as "requests!", sum(steps)::bigint as "steps!",
                  sum(training_tokens)::bigint as "training!", sum(inference_tokens)::bigint as "inference!",
                  sum(bytes_in)::bigint as "bytes_in!", sum(bytes_out)::bigint as "bytes_out!",
                  sum(device_us)::bigint as "device_us!"
           from usage where project_id = $1 and day between $2 and $3
           group by 1, 2, 3 order by day nulls first, model nulls first, 1 nulls first"#,
        project.0,
        period.from,
        period.to,
        by.key,
        by.model,
        by.day,
    )
    .fetch_all(conn)
    .await?;
    let read = rows.into_iter().map(|row| UsageRow {
        key: row.key,
        job: None,
        model: row.model,
        day: row.day,
        amounts: Amounts {
            requests: row.requests,
            steps: row.steps,
            training_tokens: row.training,
            inference_tokens: row.inference,
            bytes_in: row.bytes_in,
            bytes_out: row.bytes_out,
            device_us: row.device_us,
        },
    });
    Ok(read.collect())
}

/// What each job of the project used in a period, or each on each of its days; the newest first, and at most `limit` rows.
/// Jobs that were deleted since are among them.
pub async fn report_by_job(
    conn: &mut Connection,
    project: ProjectId,
    period: Period,
    by_day: bool,
    limit: i64,
) -> Result<Vec<UsageRow>> {
    let rows = sqlx::query!(
        r#"select job_id as "job: JobId", case when $4 then day end as day, sum(steps)::bigint as "steps!",
                  sum(training_tokens)::bigint as "training!", sum(inference_tokens)::bigint as "inference!",
                  sum(bytes_in)::bigint as "bytes_in!", sum(bytes_out)::bigint as "bytes_out!",
                  sum(device_us)::bigint as "device_us!"
           from job_usage where project_id = $1 and day between $2 and $3
           group by 1, 2 order by 2 nulls first, 1 desc limit $5"#,
        project.0,
        period.from,
        period.to,
        by_day,
        limit,
    )
    .fetch_all(conn)
    .await?;
    let read = rows.into_iter().map(|row| UsageRow {
        key: None,
        job: Some(row.job),
        model: None,
        day: row.day,
        amounts: Amounts {
            requests: 0,
            steps: row.steps,
            training_tokens: row.training,
            inference_tokens: row.inference,
            bytes_in: row.bytes_in,
            bytes_out: row.bytes_out,
            device_us: row.device_us,
        },
    });
    Ok(read.collect())
}

/// What the project, or one key of it, used in this calendar month (UTC).
pub async fn this_month(conn: &mut Connection, project: ProjectId, key: Option<KeyId>) -> Result<Used> {
    let used = sqlx::query_as!(
        Used,
        r#"select coalesce(sum(training_tokens + inference_tokens), 0)::bigint as "tokens!",
                  coalesce(sum(device_us), 0)::bigint as "device_us!"
           from usage where project_id = $1 and ($2::uuid is null or key_id = $2)
             and day >= date_trunc('month', now() at time zone 'UTC')::date"#,
        project.0,
        key.map(|key| key.0),
    )
    .fetch_one(conn)
    .await?;
    Ok(used)
}

/// Deletes counters of days that are longer ago than that many.
pub async fn delete_old(conn: &mut Connection, days: i32) -> Result<()> {
    sqlx::query!("delete from usage where day < (now() at time zone 'UTC')::date - $1::int", days)
        .execute(&mut *conn)
        .await?;
    sqlx::query!("delete from job_usage where day < (now() at time zone 'UTC')::date - $1::int", days)
        .execute(conn)
        .await?;
    Ok(())
}
