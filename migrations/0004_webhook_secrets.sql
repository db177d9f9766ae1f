-- A webhook's secret is replaced without a message that its receiver refuses: for a while messages are signed with both.
alter table webhooks
    add column previous_secret bytea check (length(previous_secret) between 24 and 64),
    add column previous_until timestamptz,
    add constraint webhooks_previous_check check ((previous_secret is null) = (previous_until is null));
comment on column webhooks.previous_secret is 'The secret before this one: signs deliveries too, until previous_until.';
