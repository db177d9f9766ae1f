-- Forward only: a released file is never edited; a change is a new file, and the previous release must run on the new schema.

create table projects (
    id uuid primary key,
    name text not null constraint projects_name_key unique check (length(name) between 1 and 64),
    created_at timestamptz not null default now()
);
comment on table projects is 'Tenants: every row that a user can reach belongs to one project.';

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
    check (expires_at is null or expires_at > created_at)
);
create index api_keys_project_id_idx on api_keys (project_id, id);
comment on table api_keys is 'API keys. The key itself is shown once and never stored.';
comment on column api_keys.id is 'The jti claim of the key.';
comment on column api_keys.last_used_at is 'Kept to the minute, so that a call does not cost a write.';
