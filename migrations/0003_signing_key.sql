-- The host's own, and no tenant's: which key pair signs API keys. A host with another one would refuse every key that the others made.
create table signing_key (
    is_only boolean primary key default true check (is_only),
    kid text not null check (kid <> ''),
    since timestamptz not null default now()
);
comment on table signing_key is 'The key pair that signs API keys, by its fingerprint: one row, written by the first host that starts.';
