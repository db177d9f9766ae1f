create table jobs (
    id uuid primary key,
    project_id uuid not null references projects (id),
    model_id uuid not null references models (id),
    model_name text not null,
    training_file uuid,
    status text not null check
        (status in ('validating_files', 'queued', 'running', 'paused', 'succeeded', 'failed', 'cancelled')),
    suffix text check (length(suffix) between 1 and 64),
    seed bigint not null,
    settings jsonb not null check (jsonb_typeof(settings) = 'object'),
    metadata jsonb check (jsonb_typeof(metadata) = 'object'),
    error jsonb check (jsonb_typeof(error) = 'object'),
    fine_tuned_model text,
    created_at timestamptz not null default now(),
    started_at timestamptz,
    last_step_at timestamptz,
    finished_at timestamptz,
    hidden_size bigint check (hidden_size > 0),
    adapter_parameters bigint check (adapter_parameters > 0),
    max_tokens bigint check (max_tokens > 0),
    next_seq bigint not null default 1 check (next_seq >= 1),
    forward_seq bigint not null default 0,
    durable_seq bigint not null default 0 check (durable_seq >= 0),
    optimizer_steps bigint not null default 0 check (optimizer_steps >= 0),
    trained_tokens bigint not null default 0 check (trained_tokens >= 0),
    adapter_version bigint not null default 0 check (adapter_version >= 0),
    lease_owner uuid,
    lease_until timestamptz,
    attempt int not null default 0 check (attempt >= 0),
    barren_attempts int not null default 0 check (barren_attempts >= 0),
    constraint jobs_forward_is_past check (forward_seq >= 0 and forward_seq < next_seq),
    constraint jobs_durable_is_past check (durable_seq < next_seq),
    constraint jobs_lease_is_whole check ((lease_owner is null) = (lease_until is null)),
    constraint jobs_lease_only_while_running check (lease_owner is null or status = 'running'),
    constraint jobs_finished_when_final check
        ((finished_at is not null) = (status in ('succeeded', 'failed', 'cancelled'))),
    constraint jobs_tuned_when_succeeded check (fine_tuned_model is null or status = 'succeeded')
);
create index jobs_project_id_idx on jobs (project_id, id);
create index jobs_open_idx on jobs (project_id, status, id) where finished_at is null;
create index jobs_lease_owner_idx on jobs (lease_owner) where lease_owner is not null;
create index jobs_training_file_idx on jobs (training_file) where training_file is not null;
create index jobs_metadata_idx on jobs using gin (metadata jsonb_path_ops);
comment on table jobs is 'Fine-tuning runs. Tensors are never here.';
comment on column jobs.training_file is 'No foreign key: a finished job outlives its file.';
comment on column jobs.next_seq is 'The seq that the next step call must carry.';
comment on column jobs.forward_seq is 'The seq of the newest training forward; 0 before the first.';
comment on column jobs.durable_seq is 'The seq of the newest step that a checkpoint covers.';
comment on column jobs.adapter_version is 'Changes of adapter values: tells whether a checkpoint holds the newest.';
comment on column jobs.attempt is 'Fencing token: whoever holds an older one writes nothing.';
comment on column jobs.barren_attempts is 'Leases taken since the last committed step that did not end in good order.';

create table steps (
    job_id uuid not null references jobs (id) on delete cascade,
    seq bigint not null check (seq >= 1),
    kind text not null check (kind in ('forward', 'backward', 'optim_step')),
    digest bytea not null check (length(digest) = 32),
    forward_id uuid,
    attempt int not null,
    tokens bigint not null default 0 check (tokens >= 0),
    optimizer_steps bigint not null default 0 check (optimizer_steps >= 0),
    created_at timestamptz not null default now(),
    primary key (job_id, seq)
);
comment on table steps is 'Step calls that were applied. The digest tells a repeat from another body; contents are never kept.';

create table ledger (
    job_id uuid not null references jobs (id) on delete cascade,
    n bigint generated always as identity,
    seq bigint,
    kind text not null check
        (kind in ('forward', 'evaluate', 'backward', 'optim_step', 'put_adapter', 'metrics', 'checkpoint')),
    tensors jsonb not null check (jsonb_typeof(tensors) = 'array'),
    bytes bigint not null check (bytes >= 0),
    sha256 bytea not null check (length(sha256) = 32),
    created_at timestamptz not null default now(),
    primary key (job_id, n)
);
comment on table ledger is 'What the host was sent: names, shapes, sizes and hashes. Never the contents.';

create table events (
    id uuid primary key,
    job_id uuid not null references jobs (id) on delete cascade,
    n bigserial not null,
    level text not null check (level in ('info', 'warn', 'error')),
    type text not null check (type in ('message', 'metrics')),
    message text not null,
    data jsonb,
    created_at timestamptz not null default now(),
    constraint events_job_id_n_key unique (job_id, n)
);
comment on column events.n is 'Order within a job: appended under the job''s row lock, so that it is also the order of commits.';

create table checkpoints (
    id uuid primary key,
    job_id uuid not null references jobs (id) on delete cascade,
    step_number bigint not null check (step_number >= 0),
    seq bigint not null check (seq >= 0),
    adapter_version bigint not null default 0 check (adapter_version >= 0),
    automatic boolean not null default false,
    blob text not null,
    sha256 text not null check (sha256 ~ '^[0-9a-f]{64}$'),
    bytes bigint not null check (bytes >= 0),
    metrics jsonb not null default '{}' check (jsonb_typeof(metrics) = 'object'),
    fine_tuned_model_checkpoint text not null,
    created_at timestamptz not null default now()
);
create index checkpoints_job_id_idx on checkpoints (job_id, id);
create index checkpoints_blob_idx on checkpoints (blob);
comment on column checkpoints.automatic is 'Made by the host for durability; pruned when newer ones exist.';
comment on table checkpoints is 'Saved states of a job: adapters, optimizer moments and random state, in a blob that is checked by hash when read.';
