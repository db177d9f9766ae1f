"""What follows from a look: a weight that is steered, or a run that ends with everything kept."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import sentiment
from fake_host import FakeHost
from test_trainer import SMALL, clients, prepared

from blindtune import RunError, Tuner
from blindtune.private.penalties.schedules import WeightSchedule
from blindtune.training.leak_watch import LeakError, LeakWatch, Look


def test_a_look_steers_the_weight_or_ends_the_run() -> None:
    schedule, found = WeightSchedule("automatic"), Look(20, {"0": 0.5, "1": 0.7}, 1.0, 0.7)
    with pytest.raises(LeakError, match=r"step 20: a host can guess labels at 0\.700, and max_leak is 0\.6"):
        LeakWatch(20, 2, 0.6, stops=True).steer(found, schedule)
    assert schedule.factor == 1.0, "what a stopped run keeps is what it was stopped with"
    LeakWatch(20, 2, 0.6, stops=False).steer(found, schedule)
    assert schedule.factor > 1.0


def test_a_run_that_leaks_more_than_it_may_stops_and_is_kept(fake_host: FakeHost, tmp_path: Path) -> None:
    """Plain LoRA hides nothing. The second look is never reached."""
    settings = {**SMALL, "method": "lora", "audit_every": 7, "on_leak": "stop", "max_leak": 0.51, "save_every": 100}
    run = prepared(tmp_path)
    tuner = Tuner("toy", clients([fake_host]), run=run, **settings)
    with pytest.raises(RunError, match="step 7: a host can guess labels"):
        tuner.fit(sentiment(200))
    assert [record["step"] for record in tuner.folder.audits()] == [7]
    kept = Tuner.load(run, clients([fake_host]), progress=False)
    assert kept.summary()["steps"] == 7
