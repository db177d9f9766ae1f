-- The hosts of a fleet: which there are, where the others reach them, and which of them are alive.
create table nodes (
    id uuid primary key,
    address text not null check (length(address) between 1 and 2000),
    version text not null,
    device text not null,
    sessions bigint not null default 0 check (sessions >= 0),
    waiting bigint not null default 0 check (waiting >= 0),
    draining boolean not null default false,
    started_at timestamptz not null default now(),
    seen_at timestamptz not null default now(),
    steady_since timestamptz not null default now()
);
comment on table nodes is 'One row for each process of a host that is part of a fleet. A node that was not seen for five seconds is dead.';
comment on column nodes.id is 'The owner of its leases.';
comment on column nodes.address is 'Where other nodes send what is for a job that it holds.';
comment on column nodes.draining is 'It opens no session any more, and hands over those that it has.';
comment on column nodes.steady_since is 'Since when it was never out of sight: after a time without the database all look dead, and nobody judges the others yet.';
