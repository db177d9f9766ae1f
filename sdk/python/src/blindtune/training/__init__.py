"""A run, from its settings to its folder: the one room that knows both what sends and what knows a label.

Owns: what becomes of labels and gradients between private/ and client/. Must never: hand a label to client/.

    trainer.py           `Tuner`: the loop
    settings.py          every knob (setting_types.py, setting_rules.py); factory.py makes the private parts of them
    run.py               a run's state (run_folder.py: its files)
    host_jobs.py         a job on every host; host_group.py: its calls; placement.py: which host gets what
    private_backprop.py  a forward, and a gradient that is hidden on its way back
    exchange.py          the hosts' side for a loop of your own (`blindtune.torch`)
    updates.py           gradients into adapter values; update_noise.py: noise on them
    leak_watch.py        attacks while training; run_audit.py: attacks on a run
    export.py            a finished run as a folder (adapter_folders.py, private_file.py)
"""
