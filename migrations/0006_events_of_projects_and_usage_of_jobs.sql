-- Events of all jobs of a project, in the order of commits: `n` alone is drawn before the commit, so that a reader behind it could miss a
-- transaction that was slower. A reader stops before the oldest transaction that is still under way.
alter table events add column project_id uuid;
alter table events add column tx bigint not null default 0;
alter table events alter column tx set default pg_current_xact_id()::text::bigint;
update events set project_id = jobs.project_id from jobs where jobs.id = events.job_id;
create index events_project_id_tx_n_idx on events (project_id, tx, n);
create index events_tx_idx on events using brin (tx);
comment on column events.tx is 'The transaction that appended it; 0: from before this column, or from another cluster.';

-- What each job used. It outlives the job, as `usage` does.
create table job_usage (
    job_id uuid not null,
    day date not null,
    project_id uuid not null references projects (id),
    steps bigint not null default 0 check (steps >= 0),
    training_tokens bigint not null default 0 check (training_tokens >= 0),
    inference_tokens bigint not null default 0 check (inference_tokens >= 0),
    bytes_in bigint not null default 0 check (bytes_in >= 0),
    bytes_out bigint not null default 0 check (bytes_out >= 0),
    device_us bigint not null default 0 check (device_us >= 0),
    primary key (job_id, day)
);
create index job_usage_project_id_idx on job_usage (project_id, day);
comment on table job_usage is 'What was used, by job and day (UTC): the part of `usage` that is a job''s, counted in the same statement.';
