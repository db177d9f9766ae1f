-- The schema of the first release, 0.2.0. Forward only from here: a released file is never edited; a change is a new file with the
-- next number, and the previous release must run on the new schema.
--
-- This file stands for eight that were written before any release: 0001 projects and keys; 0002 files and models; 0003 jobs, steps,
-- ledger, events and checkpoints; 0004 limits, usage, idempotency and audit; 0005 uploads, expiry, settings of models, origin and
-- result file of jobs; 0006 webhooks; 0008 an index over the origins of open jobs; 0010 usage in shards. 0007 and 0009 were never
-- used. What a later file added stands at the end of its table, so that `pg_dump` gives the same text for both.
-- Changed since: `idempotency` holds answers only, and no attempts under way; `jobs` knows feature jobs, several result files, the key
-- that made a job and the protection that its client declares; `batches` and `batch_pieces` are new.
-- A database that those files made belongs to no release: a host refuses it, and says how to start anew.

create table projects (
    id uuid primary key,
    name text not null constraint projects_name_key unique check (length(name) between 1 and 64),
    created_at timestamptz not null default now(),
    requests_per_minute bigint check (requests_per_minute > 0),
    tokens_per_minute bigint check (tokens_per_minute > 0),
    monthly_tokens bigint check (monthly_tokens >= 0),
    monthly_device_seconds bigint check (monthly_device_seconds >= 0)
);
comment on table projects is 'Tenants: every row that a user can reach belongs to one project.';
comment on column projects.requests_per_minute is 'Null: the host''s limit.';
comment on column projects.monthly_tokens is 'Budget for a calendar month (UTC); null: none.';

create table api_keys (
    id uuid primary key,
    project_id uuid not null references projects (id),
    name text not null check (length(name) between 1 and 200),
    token_sha256 bytea not null constraint api_keys_token_sha256_key unique check (length(token_sha256) = 32),
    scopes text[] not null check (cardinality(scopes) > 0),
    created_at timestamptz not null default now(),
    expires_at timestamptz,
    revoked_at timestamptz,
    last_used_at timestamptz,
    requests_per_minute bigint check (requests_per_minute > 0),
    tokens_per_minute bigint check (tokens_per_minute > 0),
    monthly_tokens bigint check (monthly_tokens >= 0),
    monthly_device_seconds bigint check (monthly_device_seconds >= 0),
    check (expires_at is null or expires_at > created_at)
);
create index api_keys_project_id_idx on api_keys (project_id, id);
comment on table api_keys is 'API keys. The key itself is shown once and never stored.';
comment on column api_keys.id is 'The jti claim of the key.';
comment on column api_keys.last_used_at is 'Kept to the minute, so that a call does not cost a write.';
comment on column api_keys.monthly_tokens is 'Budget for a calendar month (UTC), within the project''s; null: none.';

create table files (
    id uuid primary key,
    project_id uuid not null references projects (id),
    filename text not null check (length(filename) between 1 and 255),
    purpose text not null check (length(purpose) between 1 and 64),
    bytes bigint not null check (bytes >= 0),
    rows bigint not null check (rows >= 0),
    sha256 text not null check (sha256 ~ '^[0-9a-f]{64}$'),
    blob text not null,
    index_blob text not null,
    shape jsonb not null check (jsonb_typeof(shape) = 'object'),
    created_at timestamptz not null default now(),
    expires_at timestamptz
);
create index files_project_id_idx on files (project_id, id);
create index files_blob_idx on files (blob);
create index files_index_blob_idx on files (index_blob);
create index files_expires_at_idx on files (expires_at) where expires_at is not null;
comment on table files is 'Uploaded inputs. The contents are blobs; a file never carries labels.';
comment on column files.index_blob is 'Blob with the byte offset of every row, so that a batch reads only its own rows.';
comment on column files.shape is 'How rows are written down: the format and the columns of the header.';

create table models (
    id uuid primary key,
    project_id uuid references projects (id),
    name text not null check (length(name) between 1 and 300),
    family text not null check (length(family) between 1 and 64),
    folder text,
    base_model_id uuid references models (id),
    adapters jsonb not null default '[]' check (jsonb_typeof(adapters) = 'array'),
    sha256 text check (sha256 ~ '^[0-9a-f]{64}$'),
    parameters bigint not null check (parameters >= 0),
    hidden_size bigint not null check (hidden_size > 0),
    max_tokens bigint not null check (max_tokens > 0),
    owned_by text not null check (length(owned_by) between 1 and 200),
    created_at timestamptz not null default now(),
    deleted_at timestamptz,
    settings jsonb check (jsonb_typeof(settings) = 'object'),
    constraint models_base_or_tuned check ((project_id is null) = (base_model_id is null)),
    constraint models_base_has_folder check (project_id is not null or folder is not null)
);
create unique index models_name_key on models (name) where deleted_at is null;
create index models_project_id_idx on models (project_id, id);
create index models_adapters_idx on models using gin (adapters jsonb_path_ops);
comment on table models is 'Backbones (no project, a folder) and fine-tuned models (a project, a base model, adapter blobs).';
comment on column models.adapters is 'One {path, sha256, bytes} for each adapter set of a fine-tuned model.';
comment on column models.settings is 'Of a fine-tuned model: the settings of the split that its adapters were made with.';

create table uploads (
    id uuid primary key,
    project_id uuid not null references projects (id),
    filename text not null check (length(filename) between 1 and 255),
    purpose text not null check (length(purpose) between 1 and 64),
    mime_type text not null check (length(mime_type) <= 255),
    bytes bigint not null check (bytes >= 0),
    status text not null check (status in ('pending', 'completed', 'cancelled')),
    file_id uuid,
    file_seconds bigint check (file_seconds > 0),
    created_at timestamptz not null default now(),
    expires_at timestamptz not null
);
create index uploads_project_id_idx on uploads (project_id, id);
create index uploads_expires_at_idx on uploads (expires_at) where status = 'pending';
comment on table uploads is 'Files that come in parts. A pending upload that is past expires_at reads as expired and is swept with its parts.';
comment on column uploads.file_seconds is 'expires_after of the file that it becomes.';

create table upload_parts (
    id uuid primary key,
    upload_id uuid not null references uploads (id) on delete cascade,
    blob text not null,
    sha256 text not null check (sha256 ~ '^[0-9a-f]{64}$'),
    bytes bigint not null check (bytes >= 0),
    created_at timestamptz not null default now()
);
create index upload_parts_upload_id_idx on upload_parts (upload_id, id);
create index upload_parts_blob_idx on upload_parts (blob);

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
    origin jsonb check (jsonb_typeof(origin) = 'object'),
    result_files uuid[] not null default '{}',
    hyperparameters jsonb not null default '{}' check (jsonb_typeof(hyperparameters) = 'object'),
    key_id uuid not null,
    protection text check (protection in ('blind', 'bounded', 'hurdle', 'open')),
    features jsonb check (jsonb_typeof(features) = 'object'),
    rows_total bigint check (rows_total > 0),
    rows_done bigint not null default 0 check (rows_done >= 0),
    result_bytes bigint not null default 0 check (result_bytes >= 0),
    expected_bytes bigint not null default 0 check (expected_bytes >= 0),
    constraint jobs_forward_is_past check (forward_seq >= 0 and forward_seq < next_seq),
    constraint jobs_durable_is_past check (durable_seq < next_seq),
    constraint jobs_lease_is_whole check ((lease_owner is null) = (lease_until is null)),
    constraint jobs_lease_only_while_running check (lease_owner is null or status = 'running'),
    constraint jobs_finished_when_final check
        ((finished_at is not null) = (status in ('succeeded', 'failed', 'cancelled'))),
    constraint jobs_tuned_when_succeeded check (fine_tuned_model is null or status = 'succeeded'),
    constraint jobs_features_are_of_rows check ((features is null) = (rows_total is null)),
    constraint jobs_features_read_a_file check (features is null or training_file is not null),
    constraint jobs_rows_done_are_there check (rows_done <= coalesce(rows_total, 0))
);
create index jobs_project_id_idx on jobs (project_id, id);
create index jobs_open_idx on jobs (project_id, status, id) where finished_at is null;
create index jobs_lease_owner_idx on jobs (lease_owner) where lease_owner is not null;
create index jobs_training_file_idx on jobs (training_file) where training_file is not null;
create index jobs_metadata_idx on jobs using gin (metadata jsonb_path_ops);
create index jobs_origin_idx on jobs using gin ((origin -> 'adapters') jsonb_path_ops)
    where finished_at is null and origin is not null;
create index jobs_features_idx on jobs (coalesce(last_step_at, started_at), id)
    where features is not null and status = 'running';
comment on table jobs is 'Fine-tuning runs. Tensors are never here.';
comment on column jobs.training_file is 'No foreign key: a finished job outlives its file.';
comment on column jobs.next_seq is 'The seq that the next step call must carry.';
comment on column jobs.forward_seq is 'The seq of the newest training forward; 0 before the first.';
comment on column jobs.durable_seq is 'The seq of the newest step that a checkpoint covers.';
comment on column jobs.adapter_version is 'Changes of adapter values: tells whether a checkpoint holds the newest.';
comment on column jobs.attempt is 'Fencing token: whoever holds an older one writes nothing.';
comment on column jobs.barren_attempts is 'Leases taken since the last committed step that did not end in good order.';
comment on column jobs.origin is 'Where the adapters begin, when not afresh: {name, adapters: [blob]} of a fine-tuned model or checkpoint.';
comment on column jobs.result_files is 'Files that came of it, in order: shards of features, and the metrics that the client reported (CSV).';
comment on column jobs.hyperparameters is 'As the client sent them: for its own records, the host does not read them.';
comment on column jobs.key_id is 'The key that made it: what the host does for it without a call is counted for this key.';
comment on column jobs.protection is 'Class of protection, as the client declares it; the host does not check it.';
comment on column jobs.features is 'Settings of method features, settled; null for method split.';
comment on column jobs.rows_done is 'Rows of the training file whose features are in result_files.';
comment on column jobs.expected_bytes is 'What its features will take, as counted when it was made.';

create table batches (
    id uuid primary key,
    project_id uuid not null references projects (id),
    key_id uuid not null,
    input_file uuid not null,
    endpoint text not null check (endpoint in ('/v1/embeddings', '/v1/activations')),
    status text not null check (status in
        ('validating', 'in_progress', 'finalizing', 'cancelling', 'completed', 'failed', 'expired', 'cancelled')),
    metadata jsonb check (jsonb_typeof(metadata) = 'object'),
    output_seconds bigint not null check (output_seconds > 0),
    model text,
    errors jsonb check (jsonb_typeof(errors) = 'array'),
    requests_total bigint not null check (requests_total > 0),
    requests_completed bigint not null default 0 check (requests_completed >= 0),
    requests_failed bigint not null default 0 check (requests_failed >= 0),
    tokens bigint not null default 0 check (tokens >= 0),
    late boolean not null default false,
    output_file uuid,
    error_file uuid,
    created_at timestamptz not null default now(),
    expires_at timestamptz not null,
    in_progress_at timestamptz,
    finalizing_at timestamptz,
    cancelling_at timestamptz,
    finished_at timestamptz,
    last_turn_at timestamptz,
    lease_owner uuid,
    lease_until timestamptz,
    attempt int not null default 0 check (attempt >= 0),
    barren_attempts int not null default 0 check (barren_attempts >= 0),
    constraint batches_lease_is_whole check ((lease_owner is null) = (lease_until is null)),
    constraint batches_lease_only_while_open check (lease_owner is null or finished_at is null),
    constraint batches_finished_when_final check
        ((finished_at is not null) = (status in ('completed', 'failed', 'expired', 'cancelled'))),
    constraint batches_answered_are_there check (requests_completed + requests_failed <= requests_total),
    constraint batches_files_when_finished check
        ((output_file is null and error_file is null) or finished_at is not null)
);
create index batches_project_id_idx on batches (project_id, id);
create index batches_open_idx on batches (coalesce(last_turn_at, created_at), id) where finished_at is null;
create index batches_input_file_idx on batches (input_file) where finished_at is null;
comment on table batches is 'Many requests in one file, answered by the host in its own time. No request or answer is here.';
comment on column batches.key_id is 'The key that made it: what the host does for it is counted for this key.';
comment on column batches.input_file is 'No foreign key: a finished batch outlives its file.';
comment on column batches.output_seconds is 'How long its files are kept.';
comment on column batches.model is 'The one model that all its lines name; null where they name several.';
comment on column batches.errors is 'What was wrong with its lines, or why it failed: [{code, message, param, line}].';
comment on column batches.late is 'Requests were left when its window passed: they are answered with batch_expired, and it ends as expired.';
comment on column batches.attempt is 'Fencing token: whoever holds an older one writes nothing.';
comment on column batches.barren_attempts is 'Leases taken since the last committed piece that did not end in good order.';

create table batch_pieces (
    batch_id uuid not null references batches (id) on delete cascade,
    first_line bigint not null check (first_line >= 0),
    blob text not null,
    output_bytes bigint not null check (output_bytes >= 0),
    error_bytes bigint not null check (error_bytes >= 0),
    primary key (batch_id, first_line)
);
create index batch_pieces_blob_idx on batch_pieces (blob);
comment on table batch_pieces is 'Answers of a batch that is not over, in a blob each: those of the output file, then those of the error file.';
comment on column batch_pieces.first_line is 'Number of its first request, from 0.';

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
    created_at timestamptz not null default now(),
    expires_at timestamptz
);
create index checkpoints_job_id_idx on checkpoints (job_id, id);
create index checkpoints_blob_idx on checkpoints (blob);
create index checkpoints_expires_at_idx on checkpoints (expires_at) where expires_at is not null;
create index checkpoints_name_idx on checkpoints (fine_tuned_model_checkpoint);
comment on column checkpoints.automatic is 'Made by the host for durability; pruned when newer ones exist.';
comment on table checkpoints is 'Saved states of a job: adapters, optimizer moments and random state, in a blob that is checked by hash when read.';
comment on column checkpoints.expires_at is 'Swept after that, unless it is what the job would go on from.';

create table usage (
    project_id uuid not null references projects (id),
    key_id uuid not null,
    model text not null,
    day date not null,
    requests bigint not null default 0 check (requests >= 0),
    steps bigint not null default 0 check (steps >= 0),
    training_tokens bigint not null default 0 check (training_tokens >= 0),
    inference_tokens bigint not null default 0 check (inference_tokens >= 0),
    bytes_in bigint not null default 0 check (bytes_in >= 0),
    bytes_out bigint not null default 0 check (bytes_out >= 0),
    device_us bigint not null default 0 check (device_us >= 0),
    shard smallint not null default 0 check (shard >= 0),
    primary key (project_id, day, key_id, model, shard)
);
comment on table usage is 'What was used, by project, key, model and day (UTC). Work on the device is counted in the transaction that records it.';
comment on column usage.model is 'Name of the model; empty for requests that need none.';
comment on column usage.requests is 'Answered requests, counted in memory and written every second.';
comment on column usage.shard is 'Drawn for each call, so that calls at the same time count in rows of their own; reports add them up.';

create table idempotency (
    project_id uuid not null references projects (id),
    token bytea not null check (length(token) = 32),
    body_sha256 bytea not null check (length(body_sha256) = 32),
    created_at timestamptz not null default now(),
    status smallint not null check (status between 100 and 599),
    answer bytea not null,
    primary key (project_id, token)
);
create index idempotency_created_at_idx on idempotency (created_at);
comment on table idempotency is 'Answers to POSTs, written in the transaction of what the request changed: a repeat gets the first one. Dropped after a day.';
comment on column idempotency.token is 'SHA-256 over key, route and the Idempotency-Key header (or, for the stock client''s silent retries, the body).';
comment on column idempotency.answer is 'Empty where it showed a secret.';

create table audit (
    id uuid primary key,
    project_id uuid not null references projects (id),
    key_id uuid not null,
    action text not null check (length(action) between 1 and 100),
    resource text check (length(resource) <= 300),
    status smallint not null check (status between 100 and 599),
    request_id text not null check (length(request_id) <= 100),
    created_at timestamptz not null default now()
);
create index audit_project_id_idx on audit (project_id, id);
comment on table audit is 'Who changed what, and how it was answered. Steps are in the ledger. Never contents.';

-- Webhooks to Standard Webhooks (https://www.standardwebhooks.com).
create table webhooks (
    id uuid primary key,
    project_id uuid not null references projects (id),
    url text not null check (length(url) between 1 and 2000),
    events text[] not null check (cardinality(events) > 0),
    secret bytea not null check (length(secret) between 24 and 64),
    enabled boolean not null default true,
    created_at timestamptz not null default now()
);
create index webhooks_project_id_idx on webhooks (project_id, id);
comment on column webhooks.secret is 'Signs deliveries, so it must be readable by the host; clients see it once.';

create table webhook_deliveries (
    id uuid primary key,
    webhook_id uuid not null references webhooks (id) on delete cascade,
    type text not null check (length(type) between 1 and 100),
    payload text not null,
    state text not null check (state in ('pending', 'delivered', 'failed')),
    attempts int not null default 0 check (attempts >= 0),
    next_attempt_at timestamptz not null default now(),
    last_status int,
    last_error text check (length(last_error) <= 500),
    created_at timestamptz not null default now(),
    delivered_at timestamptz
);
create index webhook_deliveries_due_idx on webhook_deliveries (next_attempt_at) where state = 'pending';
create index webhook_deliveries_webhook_id_idx on webhook_deliveries (webhook_id, id);
comment on table webhook_deliveries is 'Outbox: written in the transaction that changed the job, sent by whichever host takes it.';
comment on column webhook_deliveries.payload is 'The exact bytes that are signed and sent.';
