-- A key's calls of a day counted in one row would wait for each other's commits.

alter table usage add column shard smallint not null default 0 check (shard >= 0);
alter table usage drop constraint usage_pkey;
alter table usage add primary key (project_id, day, key_id, model, shard);
comment on column usage.shard is 'Drawn for each call, so that calls at the same time count in rows of their own; reports add them up.';
