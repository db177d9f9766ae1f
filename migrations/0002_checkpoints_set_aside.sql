-- A checkpoint whose bytes are not those that were written is never gone on from; it is kept aside, so that its owner sees it.
alter table checkpoints add column set_aside_at timestamptz;
comment on column checkpoints.set_aside_at is 'Since when its blob is known to be damaged or gone; null: never found so.';
