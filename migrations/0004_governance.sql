-- Limits, budgets, usage, idempotency and the audit log.

alter table projects
    add column requests_per_minute bigint check (requests_per_minute > 0),
    add column tokens_per_minute bigint check (tokens_per_minute > 0),
    add column monthly_tokens bigint check (monthly_tokens >= 0),
    add column monthly_device_seconds bigint check (monthly_device_seconds >= 0);
comment on column projects.requests_per_minute is 'Null: the host''s limit.';
comment on column projects.monthly_tokens is 'Budget for a calendar month (UTC); null: none.';

alter table api_keys
    add column requests_per_minute bigint check (requests_per_minute > 0),
    add column tokens_per_minute bigint check (tokens_per_minute > 0),
    add column monthly_tokens bigint check (monthly_tokens >= 0),
    add column monthly_device_seconds bigint check (monthly_device_seconds >= 0);
comment on column api_keys.monthly_tokens is 'Budget for a calendar month (UTC), within the project''s; null: none.';

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
    primary key (project_id, day, key_id, model)
);
comment on table usage is 'What was used, by project, key, model and day (UTC). Work on the device is counted in the transaction that records it.';
comment on column usage.model is 'Name of the model; empty for requests that need none.';
comment on column usage.requests is 'Answered requests, counted in memory and written every second.';

create table idempotency (
    project_id uuid not null references projects (id),
    token bytea not null check (length(token) = 32),
    body_sha256 bytea not null check (length(body_sha256) = 32),
    resource uuid not null,
    owner uuid not null,
    created_at timestamptz not null default now(),
    status smallint check (status between 100 and 599),
    answer bytea,
    primary key (project_id, token),
    check ((status is null) = (answer is null))
);
create index idempotency_created_at_idx on idempotency (created_at);
comment on table idempotency is 'POSTs that make something: a repeat gets the first answer. Rows are dropped after a day.';
comment on column idempotency.token is 'SHA-256 over key, route and the Idempotency-Key header (or, for the stock client''s silent retries, the body).';
comment on column idempotency.resource is 'Id of what the request makes: a repeat after a crash makes the same thing, not a second one.';
comment on column idempotency.owner is 'The attempt that works on it.';

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
