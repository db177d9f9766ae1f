"""Method side from end to end: one pass over the texts, everything else at home, and every way in and out."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import sentiment
from fake_host import FakeHost

from blindtune import Client, Dataset, RunError, SettingsError, Tuner
from blindtune.cli import main
from blindtune.export import load_export
from blindtune.extras import MissingExtraError
from blindtune.sklearn import PrivateClassifier

SMALL = {"method": "side", "epochs": 12, "networks": 2, "batch_size": 32, "lr": 0.01}


@pytest.fixture
def client(fake_host: FakeHost) -> Client:
    return Client(fake_host.url, "key")


@pytest.fixture
def tuner(client: Client, tmp_path: Path) -> Tuner:
    tuner = Tuner("toy", [client], run=tmp_path / "run", progress=False, **SMALL)
    tuner.fit(sentiment(600))
    return tuner


def test_it_learns_from_one_pass_and_opens_no_job(tuner: Tuner, fake_host: FakeHost) -> None:
    paths = {path for _, path, _ in fake_host.seen}
    assert paths == {"/v1/activations"} and not fake_host.jobs
    assert len(fake_host.seen) == 5, "600 texts, 128 to a call"
    fresh = sentiment(500, seed=1)
    assert tuner.evaluate(fresh)["accuracy"] > 0.9
    luck = Tuner("toy", tuner.clients, progress=False, **SMALL)
    shuffled = np.random.default_rng(3).permutation(sentiment(600).labels)
    luck.fit(Dataset(sentiment(600).texts, shuffled, fresh.label_names))
    assert luck.evaluate(fresh)["accuracy"] < 0.82, "0.53 +- 0.07 over ten draws"


def test_predictions_have_the_names_and_what_was_asked_is_not_asked_again(tuner: Tuner, fake_host: FakeHost) -> None:
    fresh = sentiment(40, seed=2)
    names = tuner.predict(fresh.texts)
    before = len(fake_host.seen)
    probabilities = tuner.predict_proba(fresh.texts)
    assert len(fake_host.seen) == before
    assert names == [tuner.label_names[int(k)] for k in probabilities.argmax(axis=1)]
    np.testing.assert_allclose(probabilities.sum(axis=1), 1.0, rtol=1e-5)


def test_a_saved_loaded_or_exported_run_predicts_the_same(tuner: Tuner, client: Client, tmp_path: Path) -> None:
    fresh = sentiment(40, seed=2).texts
    expected = tuner.predict_proba(fresh)
    tuner.save(tmp_path / "copy")
    np.testing.assert_array_equal(
        Tuner.load(tmp_path / "copy", [client], progress=False).predict_proba(fresh), expected
    )
    tuner.export(tmp_path / "out")
    exported = load_export(tmp_path / "out", client)
    np.testing.assert_array_equal(exported.predict_proba(fresh), expected)
    assert exported.label_names == tuner.label_names


def test_an_export_under_a_passphrase_opens_with_it_alone(tuner: Tuner, client: Client, tmp_path: Path) -> None:
    pytest.importorskip("cryptography")
    tuner.export(tmp_path / "out", passphrase="long enough")
    fresh = sentiment(10, seed=2).texts
    loaded = load_export(tmp_path / "out", client, passphrase="long enough")
    np.testing.assert_array_equal(loaded.predict_proba(fresh), tuner.predict_proba(fresh))
    with pytest.raises(RunError, match="passphrase"):
        load_export(tmp_path / "out", client)


def test_the_same_fit_again_is_read_from_the_folder(tuner: Tuner, client: Client, fake_host: FakeHost) -> None:
    before = len(fake_host.seen)
    again = Tuner("toy", [client], run=tuner.folder.path, progress=False, **SMALL)
    assert again.fit(sentiment(600)).adapter_sha256 == tuner.summary()["adapter_sha256"]
    assert len(fake_host.seen) == before
    with pytest.raises(RunError, match="lr was"):
        Tuner("toy", [client], run=tuner.folder.path, **{**SMALL, "lr": 0.02}).fit(sentiment(600))
    with pytest.raises(RunError, match="other data"):
        Tuner("toy", [client], run=tuner.folder.path, **SMALL).fit(sentiment(500))


def test_the_audit_says_what_the_texts_tell_anybody(tuner: Tuner) -> None:
    report = tuner.audit(sentiment(400, seed=4), quick=True)
    frozen = tuner.activations(sentiment(400, seed=4).texts)[0][0]
    assert report.gradients is None and report.activations is not None and frozen.shape == (400, 16)
    assert any("other labels would give the same requests" in line for line in report.exposure)
    assert tuner.summary()["protection"] == "blind" and tuner.complete() == [None]


def test_a_regression_predicts_values(client: Client) -> None:
    texts = sentiment(500).texts
    values = [float(len(text.split())) for text in texts]
    data = Dataset.from_lists(texts, values, task="regression")
    tuner = Tuner("toy", [client], progress=False, **SMALL)
    tuner.fit(data)
    assert tuner.predict_values(texts[:5]).shape == (5,)
    assert set(tuner.evaluate(data)) >= {"spearman", "rmse"}
    with pytest.raises(RunError, match="predict_values"):
        tuner.predict_proba(texts[:5])


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"rank": 4}, "rank: method side has no use for it"),
        ({"shares": 2}, "shares: method side has no use for it"),
        ({"label_epsilon": 1.0}, "label_epsilon: method side has no use for it"),
        ({"networks": 0}, "networks must be above 0"),
        ({"held_out": 0.9}, "held_out must be from 0 to 0.5"),
        ({"side": "rope"}, "side must be one of attentive, ladder, pooled, not 'rope'"),
        ({"side": "ladder", "side_width": 30}, "side_width must be a multiple of 4 for side ladder, not 30"),
        ({"side_width": 0}, "side_width must be above 0"),
        ({"dropout": 1.0}, "dropout must be at least 0 and below 1, not 1.0"),
        ({"input_noise": -0.1}, "input_noise must be at least 0"),
        ({"class_weights": "even"}, "class_weights must be balanced, or numbers above 0, not 'even'"),
        ({"class_weights": (1.0, 0.0)}, "class_weights must be balanced, or numbers above 0"),
        ({"method": "lora", "side_width": 8}, "side_width is for method side, and does nothing in method lora"),
    ],
)
def test_settings_that_would_do_nothing_are_refused(client: Client, given: dict, says: str) -> None:
    with pytest.raises(SettingsError, match=says):
        Tuner("toy", [client], **(SMALL | given))


@pytest.mark.parametrize(
    ("data", "weights", "says"),
    [
        (sentiment(60), [1.0, 2.0, 3.0], r"class_weights has 3 numbers for 2 classes \(negative, positive\)"),
        (
            Dataset.from_lists(sentiment(60).texts, [float(k) for k in range(60)], task="regression"),
            "balanced",
            "class_weights are for rows of one class each",
        ),
    ],
)
def test_weights_that_fit_no_class_are_refused_before_a_host_is_asked(
    client: Client, fake_host: FakeHost, data: Dataset, weights: object, says: str
) -> None:
    with pytest.raises(SettingsError, match=says):
        Tuner("toy", [client], progress=False, **SMALL, class_weights=weights).fit(data)
    assert not fake_host.seen


def test_a_ladder_without_torch_says_what_to_install(
    client: Client, fake_host: FakeHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.delitem(sys.modules, "blindtune.private.side.ladder", raising=False)
    with pytest.raises(MissingExtraError, match=r"side ladder needs torch: pip install 'blindtune\[torch\]'"):
        Tuner("toy", [client], progress=False, method="side", side="ladder").fit(sentiment(60))
    assert not fake_host.seen


@pytest.mark.parametrize(("rows", "per_epoch"), [(600, 17), (150, 5)])
def test_steps_are_those_that_were_taken(client: Client, rows: int, per_epoch: int) -> None:
    """540 of 600 rows are trained on; of 150 all, since a tenth of them could choose no epoch."""
    settings = SMALL | {"epochs": 2}
    assert Tuner("toy", [client], progress=False, **settings).fit(sentiment(rows)).steps == per_epoch * 2 * 2


def test_class_weights_come_back_from_the_run_folder(client: Client, tmp_path: Path) -> None:
    settings = SMALL | {"epochs": 1, "class_weights": [1.0, 3.0], "dropout": 0.1}
    first = Tuner("toy", [client], run=tmp_path / "run", progress=False, **settings).fit(sentiment(60))
    again = Tuner("toy", [client], run=tmp_path / "run", progress=False, **settings)
    assert again.fit(sentiment(60)).adapter_sha256 == first.adapter_sha256
    loaded = Tuner.load(tmp_path / "run", [client], progress=False).settings
    assert (loaded.class_weights, loaded.dropout, loaded.side_width) == ((1.0, 3.0), 0.1, 32)
    with pytest.raises(RunError, match="class_weights was"):
        Tuner("toy", [client], run=tmp_path / "run", **(settings | {"class_weights": None})).fit(sentiment(60))


def test_two_hosts_are_one_too_many(client: Client) -> None:
    with pytest.raises(SettingsError, match="side sends no gradient and uses one host"):
        Tuner("toy", [client, client], **SMALL)


def test_before_a_fit_there_is_nothing_to_ask(client: Client) -> None:
    tuner = Tuner("toy", [client], **SMALL)
    for ask in (lambda: tuner.predict(["a"]), tuner.summary, lambda: tuner.label_names):
        with pytest.raises(RunError, match="not trained yet"):
            ask()


def test_scikit_learn_drives_it(client: Client) -> None:
    data = sentiment(400)
    model = PrivateClassifier("toy", [client], **SMALL).fit(list(data.texts), data.labels)
    fresh = sentiment(300, seed=1)
    assert model.score(list(fresh.texts), fresh.labels) > 0.85


def test_the_shell_says_the_class_of_protection(
    fake_host: FakeHost, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BLINDTUNE_API_KEY", "key")
    data, name = sentiment(300), tmp_path / "train.tsv"
    rows = [f"{text}\t{data.label_names[label]}" for text, label in zip(data.texts, data.labels, strict=True)]
    name.write_text("text\tlabel\n" + "\n".join(rows) + "\n")
    words = ["train", "--data", str(name), "--model", "toy", "--host", fake_host.url, "--method", "side", "--quiet"]
    assert main([*words, "--run", str(tmp_path / "run"), "--epochs", "2", "--networks", "1"]) == 0
    *_, last, verdict = capsys.readouterr().out.strip().splitlines()
    assert last.startswith("protection: blind: nothing that a host receives depends on a label;")
    assert verdict.startswith("no limit applies: the texts alone tell anybody ")
    asked = ["evaluate", "--run", str(tmp_path / "run"), "--data", str(name)]
    assert main(asked) == 0
    assert capsys.readouterr().out.startswith("rows ")
    assert main([*asked, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["scores"]["rows"] == 300
    assert main(["predict", "--run", str(tmp_path / "run"), "--text", data.texts[0]]) == 0
    assert capsys.readouterr().out.split("\t")[0] in data.label_names
