-- Models made before settings were kept get those of the job that made them, so that they can be continued too.
update models set settings = jobs.settings from jobs where jobs.fine_tuned_model = models.name and models.settings is null;

create index jobs_origin_idx on jobs using gin ((origin -> 'adapters') jsonb_path_ops)
    where finished_at is null and origin is not null;
