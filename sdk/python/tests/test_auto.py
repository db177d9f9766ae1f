"""Method auto: side first, more only where it is wanted and its class accepted, and nothing of it forgotten."""

from __future__ import annotations

import json
from collections.abc import Callable
from math import sqrt
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import same_secret, sentiment
from fake_host import FakeHost, Fault

from blindtune import ApiError, Client, Dataset, RunError, SettingsError, Tuner
from blindtune.cli import main
from blindtune.export import load_export
from blindtune.sklearn import PrivateClassifier
from blindtune.training.auto import AutoTuner
from blindtune.training.auto_decision import Candidate, Decision, standard_error
from blindtune.training.run_folder import RunFolder
from blindtune.training.settings import Settings

ROWS = 200
GOOD: dict[str, Any] = {"method": "auto", "epochs": 12, "networks": 1, "batch_size": 32, "lr": 0.01}
POOR: dict[str, Any] = {"method": "auto", "epochs": 1, "networks": 1, "lr": 1e-6}
MORE: dict[str, Any] = {"wanted": 1.0, "accept": "hurdle", "steps": 120}


@pytest.fixture
def client(fake_host: FakeHost) -> Client:
    return Client(fake_host.url, "key")


def unsure(rows: int) -> Dataset:
    """A fifth of the labels at random: of a thousand a tenth is held out, and nobody is right about all of it."""
    data, rng = sentiment(rows), np.random.default_rng(0)
    labels = np.where(rng.random(rows) < 0.2, rng.integers(0, 2, rows), data.labels)
    return Dataset(data.texts, labels, data.label_names)


def fitted(client: Client, folder: Path | None = None, data: Dataset | None = None, **settings: Any) -> AutoTuner:
    tuner = Tuner("toy", [client], run=folder, progress=False, **settings)
    tuner.fit(data or sentiment(ROWS))
    assert isinstance(tuner, AutoTuner)
    return tuner


def statuses(tuner: AutoTuner) -> dict[str, str]:
    return {one.method: "tried" if one.tried else one.remark for one in tuner.decision.candidates}


# What is tried.


def test_without_more_wanted_sides_result_is_taken_as_it_is(client: Client, fake_host: FakeHost) -> None:
    tuner = fitted(client, **GOOD)
    assert statuses(tuner) == {"side": "tried"} | dict.fromkeys(("lora", "p3eft"), "no more was wanted than side finds")
    assert not fake_host.jobs and tuner.links == [] and tuner.complete() == [None]
    assert tuner.evaluate(sentiment(300, seed=1))["accuracy"] > 0.85
    assert "nothing more was wanted" in tuner.decision.sentences()[0]


def test_what_side_reaches_is_not_sought_elsewhere(client: Client, fake_host: FakeHost) -> None:
    tuner = fitted(client, **GOOD, wanted=0.6, accept="hurdle", label_epsilon=2.0)
    assert statuses(tuner)["p3eft"] == "what was wanted was reached without it" == statuses(tuner)["lora"]
    assert not fake_host.jobs and tuner.summary()["protection"] == "blind"


def test_without_acceptance_it_stays_with_side_and_says_what_could_be_tried(
    client: Client, fake_host: FakeHost
) -> None:
    tuner = fitted(client, **POOR, wanted=1.0)
    found = statuses(tuner)
    assert found["p3eft"] == "it may give more; its protection is a hurdle, measured and not proven: accept='hurdle'"
    assert "bounded" in found["lora"] and "label_epsilon" in found["lora"]
    assert not fake_host.jobs and {path for _, path, _ in fake_host.seen} == {"/v1/activations"}
    first, *_, last = tuner.decision.sentences()
    assert first.endswith("wanted 1.000, not reached") and last == "result: side (blind)"


def test_what_is_accepted_is_tried_and_the_better_is_the_result(
    client: Client, fake_host: FakeHost, tmp_path: Path
) -> None:
    tuner = fitted(client, same_secret(tmp_path), unsure(1000), **POOR, **(MORE | {"steps": 240}), label_epsilon=3.0)
    scores = {one.method: one.score for one in tuner.decision.tried}
    classes = [one.protection for one in tuner.decision.candidates]
    assert list(scores) == ["side", "lora", "p3eft"] and classes == ["blind", "bounded", "hurdle"]
    best = tuner.decision.chosen.method
    assert best != "side" and scores[best] == max(scores.values())
    assert [fake_host.jobs[job]["protection"] for job in fake_host.jobs] == ["bounded", "hurdle"]
    summary = tuner.summary()
    assert summary["protection"] == "hurdle" and summary["decision"]["chosen"] == best
    assert json.loads(json.dumps(summary["decision"]))["candidates"][2]["score"] == scores["p3eft"]
    assert tuner.evaluate(sentiment(300, seed=1))["accuracy"] > 0.8
    winner, fresh = Tuner.load(tmp_path / best, [client], progress=False), sentiment(60, seed=3)
    np.testing.assert_array_equal(tuner.predict_proba(fresh.texts), winner.predict_proba(fresh.texts))


def test_accept_bounded_does_not_go_beyond(client: Client, fake_host: FakeHost) -> None:
    tuner = fitted(client, **POOR, **(MORE | {"accept": "bounded", "steps": 3}), label_epsilon=3.0)
    assert [one.method for one in tuner.decision.tried] == ["side", "lora"]
    assert tuner.decision.protection == "bounded" and len(fake_host.jobs) == 1
    assert "accept='hurdle'" in statuses(tuner)["p3eft"]


def test_a_candidate_that_lost_counts_for_what_was_sent(client: Client, fake_host: FakeHost, tmp_path: Path) -> None:
    tuner = fitted(client, tmp_path, unsure(1000), **GOOD, **(MORE | {"steps": 2}))
    assert tuner.decision.chosen.method == "side" and tuner.summary()["protection"] == "hurdle"
    assert tuner.decision.sentences()[-1] == "result: side (blind); all that was sent is of class hurdle"
    side, lost = (Tuner.load(tmp_path / name, [client], progress=False) for name in ("side", "p3eft"))
    fresh = sentiment(60, seed=3)
    np.testing.assert_array_equal(tuner.predict_proba(fresh.texts), side.predict_proba(fresh.texts))
    whole, of_side, of_lost = (one.audit(fresh, quick=True) for one in (tuner, side, lost))
    assert whole.gradients is not None and whole.gradients == of_lost.gradients
    assert whole.attacks.keys() == of_side.attacks.keys() | of_lost.attacks.keys()
    for name, score in whole.attacks.items():
        assert score == max(report.attacks.get(name, 0.0) for report in (of_side, of_lost))
    assert "other labels would give the same requests" not in " ".join(whole.exposure)
    assert "no bound covers it" in whole.exposure[-1] and whole.evidence.verdicts and whole.evidence.support
    assert tuner.complete() == [None]
    assert {job["status"] for job in fake_host.jobs.values()} == {"cancelled"}


def test_several_hosts_are_for_p3eft_alone(fake_hosts: Callable[[int], list[FakeHost]]) -> None:
    hosts = fake_hosts(2)
    tuner = Tuner("toy", [Client(h.url, "k") for h in hosts], progress=False, **POOR, **(MORE | {"steps": 2}))
    tuner.fit(sentiment(ROWS))
    asked = [{path for _, path, _ in host.seen if path == "/v1/activations"} for host in hosts]
    assert asked == [{"/v1/activations"}, set()] and all(len(host.jobs) == 1 for host in hosts)


# The rows it decides by.


def test_all_candidates_are_measured_on_the_same_rows_that_none_has_seen(client: Client, tmp_path: Path) -> None:
    data, held_out = sentiment(ROWS), 0.3
    tuner = fitted(client, tmp_path, **POOR, **(MORE | {"steps": 40}), held_out=held_out)
    order = RunFolder(tmp_path).secret().permutation(ROWS, "auto", "held out")
    held, rest = data.take(order[:60]), data.take(order[60:])
    assert tuner.decision.rows == 60
    for one in tuner.decision.tried:
        alone = Tuner.load(tmp_path / one.method, [client], progress=False)
        assert alone.evaluate(held)["accuracy"] == one.score
        assert one.standard_error == pytest.approx(sqrt((one.score or 0) * (1 - (one.score or 0)) / 60))
        assert json.loads((tmp_path / one.method / "run.json").read_text())["data_sha256"] == rest.sha256()


def test_twenty_rows_are_held_out_at_least(client: Client) -> None:
    tuner = Tuner("toy", [client], progress=False, **POOR)
    with pytest.raises(RunError, match="needs 40 rows or more, not 39"):
        tuner.fit(sentiment(39))
    tuner.fit(sentiment(41))
    assert isinstance(tuner, AutoTuner) and tuner.decision.rows == 20


def test_a_regression_is_measured_by_rank_and_has_no_bounded_method(client: Client) -> None:
    texts = sentiment(ROWS).texts
    data = Dataset.from_lists(texts, [float(len(text.split())) for text in texts], task="regression")
    tuner = Tuner("toy", [client], progress=False, **POOR, **(MORE | {"steps": 3}), label_epsilon=2.0)
    tuner.fit(data)
    assert isinstance(tuner, AutoTuner) and tuner.decision.score_name == "spearman"
    assert statuses(tuner) == {
        "side": "tried",
        "lora": "label_epsilon flips classes, and a regression has none",
        "p3eft": "tried",
    }
    assert all(0.0 < (one.standard_error or 0.0) < 0.5 for one in tuner.decision.tried)
    assert tuner.predict_values(texts[:3]).shape == (3,)


def test_several_labels_are_sides_alone(client: Client, fake_host: FakeHost) -> None:
    texts = sentiment(ROWS).texts
    sets = [["a", "b"] if k % 2 else ["b", "c"][k % 3 :] for k in range(ROWS)]
    tuner = Tuner("toy", [client], progress=False, **POOR, **MORE)
    tuner.fit(Dataset.from_lists(texts, sets, ("a", "b", "c"), task="multilabel"))
    assert isinstance(tuner, AutoTuner) and tuner.decision.score_name == "f1_micro"
    assert statuses(tuner)["p3eft"] == "it learns one label for each row" and not fake_host.jobs


# Its folder.


def outcome(tuner: AutoTuner) -> tuple[str, list[tuple[Any, ...]]]:
    tried = [(one.method, one.score, one.fit and one.fit["adapter_sha256"]) for one in tuner.decision.candidates]
    return tuner.summary()["adapter_sha256"], tried


@pytest.mark.parametrize(
    ("path", "calls"), [("activations", 0), ("jobs", 0), ("forward", 3), ("forward", 20), ("backward", 7)]
)
def test_a_run_that_broke_off_ends_where_an_undisturbed_one_ends(
    client: Client, fake_host: FakeHost, tmp_path: Path, path: str, calls: int
) -> None:
    """Within side, between the candidates, within P3EFT, and after it, while it is measured."""
    settings = POOR | MORE | {"steps": 20, "save_every": 4}
    calm = fitted(client, same_secret(tmp_path / "calm"), **settings)
    count = 0

    def broken(asked: str) -> Fault | None:
        nonlocal count
        hit = asked.endswith(path)
        count += hit
        return Fault(path, status=422) if hit and count == calls + 1 else None

    fake_host._fault = broken  # type: ignore[method-assign]
    (tmp_path / "own").mkdir()
    own = {"features": tmp_path / "own"}
    with pytest.raises(ApiError):
        fitted(client, same_secret(tmp_path / "shaken"), **settings, **own)
    assert count == calls + 1
    with pytest.raises(RunError, match=r"no run here|no finished run"):
        Tuner.load(tmp_path / "shaken", [client]).predict(["a"])
    assert outcome(fitted(client, tmp_path / "shaken", **settings, **own)) == outcome(calm)


def test_more_may_be_accepted_later_but_what_was_begun_is_not_forgotten(
    client: Client, fake_host: FakeHost, tmp_path: Path
) -> None:
    blind = fitted(client, tmp_path, **POOR, wanted=1.0)
    asked = len(fake_host.seen)
    more = fitted(client, tmp_path, **POOR, **(MORE | {"steps": 3}))
    assert more.decision.tried[0] == blind.decision.tried[0] and len(more.decision.tried) == 2
    assert not any(path == "/v1/activations" for _, path, _ in fake_host.seen[asked:]), "side's features are kept"
    with pytest.raises(RunError, match="p3eft was begun here, and hosts have seen what was sent for it; accept hurdle"):
        fitted(client, tmp_path, **POOR, wanted=1.0)
    less = fitted(client, tmp_path, **POOR, **(MORE | {"steps": 3, "wanted": 0.01}))
    assert less.decision.protection == "hurdle" and less.decision.reached


def test_a_folder_is_for_one_run(client: Client, tmp_path: Path) -> None:
    tuner = fitted(client, tmp_path, **POOR)
    with pytest.raises(RunError, match=r"held_out was 0\.1, now 0\.2"):
        fitted(client, tmp_path, **POOR, held_out=0.2)
    with pytest.raises(RunError, match=r"side: the run was started otherwise \(.*; lr was 1e-06, now 1e-05\)"):
        fitted(client, tmp_path, **(POOR | {"lr": 1e-5}))
    with pytest.raises(RunError, match="other data"):
        tuner.fit(sentiment(ROWS, seed=1))


@pytest.mark.parametrize("settings", [GOOD, POOR | MORE])
def test_a_saved_loaded_or_exported_run_predicts_the_same(
    client: Client, tmp_path: Path, settings: dict[str, Any]
) -> None:
    tuner = fitted(client, tmp_path / "run", **settings)
    fresh = sentiment(30, seed=2).texts
    expected = tuner.predict_proba(fresh)
    tuner.save(tmp_path / "copy")
    for folder in ("run", "copy"):
        loaded = Tuner.load(tmp_path / folder, [client], progress=False)
        np.testing.assert_array_equal(loaded.predict_proba(fresh), expected)
        assert isinstance(loaded, AutoTuner) and loaded.decision == tuner.decision
        assert loaded.label_names == tuner.label_names and loaded.settings == tuner.settings
    if settings is GOOD:  # a toy host does not say how adapters lie; tests/real/test_auto.py exports them
        tuner.export(tmp_path / "out")
        exported = load_export(tmp_path / "out", client)
        np.testing.assert_array_equal(exported.predict_proba(fresh), expected)
        assert exported.settings.method == "side"


def test_before_a_fit_there_is_nothing_to_ask(client: Client) -> None:
    tuner = Tuner("toy", [client], **GOOD)
    for ask in (lambda: tuner.predict(["a"]), tuner.summary, lambda: tuner.label_names, lambda: tuner.audit(None)):  # type: ignore[arg-type]
        with pytest.raises(RunError, match="not trained yet"):
            ask()


# What is refused.


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"wanted": 0.0}, "wanted must be above 0"),
        ({"wanted": 90.0}, r"wanted must be a score of at most 1, as 0\.9, not 90"),
        ({"accept": "open", "wanted": 0.9}, "accept must be one of blind, bounded, hurdle, not 'open'"),
        ({"accept": "hurdle"}, "accept hurdle needs wanted"),
        ({"accept": "bounded", "wanted": 0.9}, "accept bounded needs label_epsilon"),
        ({"label_epsilon": 2.0, "wanted": 0.9}, "label_epsilon: method auto with accept blind tries side"),
        ({"shares": 2, "wanted": 0.9}, "shares: method auto with accept blind tries side"),
        ({"pslf_labels": 4, "wanted": 0.9, "accept": "hurdle"}, "pslf_labels: method auto with accept hurdle tries"),
        ({"rank": 0, "wanted": 0.9, "accept": "hurdle"}, "rank must be above 0"),
        ({"max_leak": 2.0, "wanted": 0.9, "accept": "hurdle"}, "max_leak must be in"),
        ({"held_out": 0.0}, "held_out must be above 0 in method auto"),
        ({"held_out": 0.7}, r"held_out must be from 0 to 0\.5"),
        ({"side": "ladder", "side_width": 30}, "side_width must be a multiple of 4"),
        ({"method": "side", "wanted": 0.9}, "wanted is for method auto, and does nothing in method side"),
        ({"method": "p3eft", "accept": "hurdle"}, "accept is for method auto, and does nothing in method p3eft"),
    ],
)
def test_settings_that_make_no_sense_are_refused_by_name(given: dict[str, Any], says: str) -> None:
    with pytest.raises(SettingsError, match=says):
        Settings.from_dict({"method": "auto"} | given).resolve(1)


def test_a_second_host_is_refused_where_nothing_is_divided(client: Client) -> None:
    with pytest.raises(SettingsError, match="method auto with accept blind uses one host, not 2"):
        Tuner("toy", [client, client], **GOOD)


# The decision.


def decided(*scores: tuple[str, Any, float], wanted: float | None = 0.9) -> Decision:
    tried = tuple(Candidate(method, protection, score, 0.01) for method, protection, score in scores)
    return Decision("accuracy", 100, wanted, tried)


def test_of_equal_scores_the_stronger_protection_is_taken() -> None:
    side, lora, p3eft = ("side", "blind", 0.8), ("lora", "bounded", 0.8), ("p3eft", "hurdle", 0.8)
    assert decided(p3eft, lora, side).chosen.method == "side" and decided(p3eft, lora).chosen.method == "lora"
    assert decided(side, ("p3eft", "hurdle", 0.81)).chosen.method == "p3eft"
    assert decided(side, ("p3eft", "hurdle", 0.7)).protection == "hurdle"
    assert not decided(side).reached and decided(side, wanted=0.8).reached and decided(side, wanted=None).reached


def test_the_jackknife_of_a_mean_is_its_standard_error() -> None:
    values = np.random.default_rng(0).normal(size=10)
    found = standard_error("spearman", 0.0, 10, lambda rows: float(values[rows].mean()))
    assert found == pytest.approx(values.std(ddof=1) / sqrt(10))


# Other ways in.


def test_scikit_learn_drives_it(client: Client) -> None:
    data, fresh = sentiment(ROWS), sentiment(300, seed=1)
    model = PrivateClassifier("toy", [client], **GOOD, wanted=0.6).fit(list(data.texts), data.labels)
    assert model.score(list(fresh.texts), fresh.labels) > 0.85
    assert model.tuner_.summary()["decision"]["chosen"] == "side"


def test_the_shell_says_what_was_tried_and_what_could_be(
    fake_host: FakeHost, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BLINDTUNE_API_KEY", "key")
    data, name = sentiment(ROWS), tmp_path / "train.tsv"
    rows = [f"{text}\t{data.label_names[label]}" for text, label in zip(data.texts, data.labels, strict=True)]
    name.write_text("text\tlabel\n" + "\n".join(rows) + "\n")
    words = [
        "train",
        "--data",
        str(name),
        "--model",
        "toy",
        "--host",
        fake_host.url,
        "--quiet",
        "--effort",
        "quick",
        "--epochs",
        "1",
    ]
    words += ["--method", "auto", "--networks", "1", "--lr", "1e-6", "--wanted", "1"]
    words += ["--run", str(same_secret(tmp_path / "run"))]  # twenty rows held out decide: who wins follows from it
    assert main(words) == 0
    lines = capsys.readouterr().out.strip().splitlines()
    assert any(line.startswith("p3eft (hurdle): not tried; it may give more;") for line in lines)
    assert lines[-3] == "result: side (blind)" and lines[-2].startswith("protection: blind:")
    assert main([*words, "--accept", "hurdle", "--steps", "100"]) == 0
    lines = capsys.readouterr().out.strip().splitlines()
    at = lines.index("result: p3eft (hurdle)")
    assert lines[at + 1].startswith("protection: hurdle:") and "rivate enough" in lines[at + 2].lower()[1:]
    report = json.loads((tmp_path / "run" / "report.json").read_text())
    assert [one["method"] for one in report["decision"]["candidates"]] == ["side", "lora", "p3eft"]
    assert main(["evaluate", "--run", str(tmp_path / "run"), "--data", str(name)]) == 0


def test_a_grid_compares_methods_and_does_not_take_one_that_chooses(tmp_path: Path) -> None:
    from blindtune.frontier import make_grid

    path = tmp_path / "grid.json"
    path.write_text(json.dumps({"points": [{"name": "auto", "settings": {"method": "auto"}}]}))
    with pytest.raises(SettingsError, match="method auto chooses among methods"):
        make_grid(str(path), 1, {})
