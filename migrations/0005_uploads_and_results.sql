-- Uploads in parts, files and checkpoints that expire, models made of adapters, jobs that continue from one.

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

create index files_expires_at_idx on files (expires_at) where expires_at is not null;

alter table checkpoints add column expires_at timestamptz;
create index checkpoints_expires_at_idx on checkpoints (expires_at) where expires_at is not null;
create index checkpoints_name_idx on checkpoints (fine_tuned_model_checkpoint);
comment on column checkpoints.expires_at is 'Swept after that, unless it is what the job would go on from.';

alter table models add column settings jsonb check (jsonb_typeof(settings) = 'object');
comment on column models.settings is 'Of a fine-tuned model: the settings of the split that its adapters were made with.';

alter table jobs
    add column origin jsonb check (jsonb_typeof(origin) = 'object'),
    add column result_file uuid,
    add column hyperparameters jsonb not null default '{}' check (jsonb_typeof(hyperparameters) = 'object');
comment on column jobs.origin is 'Where the adapters begin, when not afresh: {name, adapters: [blob]} of a fine-tuned model or checkpoint.';
comment on column jobs.result_file is 'File with the metrics that the client reported (CSV).';
comment on column jobs.hyperparameters is 'As the client sent them: for its own records, the host does not read them.';
