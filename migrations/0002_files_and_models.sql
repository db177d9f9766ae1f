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
    constraint models_base_or_tuned check ((project_id is null) = (base_model_id is null)),
    constraint models_base_has_folder check (project_id is not null or folder is not null)
);
create unique index models_name_key on models (name) where deleted_at is null;
create index models_project_id_idx on models (project_id, id);
create index models_adapters_idx on models using gin (adapters jsonb_path_ops);
comment on table models is 'Backbones (no project, a folder) and fine-tuned models (a project, a base model, adapter blobs).';
comment on column models.adapters is 'One {path, sha256, bytes} for each adapter set of a fine-tuned model.';
