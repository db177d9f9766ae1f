-- What a project stores is counted with the indexes of its files, which of short rows are larger than the file.
alter table files add column index_bytes bigint not null default 0 check (index_bytes >= 0);
comment on column files.index_bytes is 'Size of index_blob; 0 where the file has no index of its own, or is older than this column.';

-- What a job's client has reported so far, so that each report is judged without reading the others.
create table job_metrics (
    job_id uuid primary key references jobs (id) on delete cascade,
    reported bigint not null check (reported >= 0),
    names text[] not null
);
comment on table job_metrics is 'Bounds of reported metrics, and the columns of step_metrics.csv.';
comment on column job_metrics.reported is 'Values of all reports, each report counted as ten at least.';
