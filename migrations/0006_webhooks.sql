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
