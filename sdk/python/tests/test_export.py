"""An export predicts as the run did; it is there in full or not at all, and without the passphrase it stays shut."""

from __future__ import annotations

import json
import stat
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import sentiment
from fake_host import RANK, FakeHost

from blindtune import P3EFT, Client, Dataset, RunError
from blindtune.arrays import decode
from blindtune.export import export, load_export
from blindtune.extras import MissingExtraError
from blindtune.training.private_file import decrypt, encrypt

SMALL = {"adapter_sets": 2, "steps": 30, "batch_size": 32, "ramp_steps": 20, "lr": 0.02, "progress": False}
TEXTS = ["good lovely film", "awful dull plot", "the music"]


@pytest.fixture
def host() -> Iterator[FakeHost]:
    made = FakeHost()
    yield made
    made.close()


def trained(host: FakeHost, data: Dataset | None = None, **settings: Any) -> P3EFT:
    tuner = P3EFT("toy", [Client(host.url, "key")], **(SMALL | settings))
    tuner.fit(data or sentiment(200))
    return tuner


@pytest.mark.parametrize(
    "settings", [{"method": "p3eft"}, {"train_coefficients": True}, {"method": "lora"}, {"method": "frozen"}]
)
@pytest.mark.parametrize("passphrase", [None, "correct horse"])
def test_it_predicts_as_the_run_did(
    host: FakeHost, tmp_path: Path, settings: dict[str, Any], passphrase: str | None
) -> None:
    tuner = trained(host, **settings)
    folder = export(tuner, tmp_path / "out", passphrase)
    again = load_export(folder, Client(host.url, "key"), passphrase=passphrase)
    assert again.label_names == ("negative", "positive")
    np.testing.assert_array_equal(again.predict_proba(TEXTS), tuner.predict_proba(TEXTS))
    assert again.predict(TEXTS) == tuner.predict(TEXTS)
    assert not list(tmp_path.glob(".*")), "something was left beside it"


def test_a_regression_keeps_its_unit(host: FakeHost, tmp_path: Path) -> None:
    data = sentiment(200)
    numbers = Dataset.from_lists(data.texts, [100.0 + 30.0 * k for k in data.labels], task="regression")
    tuner = trained(host, numbers)
    again = load_export(export(tuner, tmp_path / "out"), Client(host.url, "key"))
    np.testing.assert_array_equal(again.predict_values(TEXTS), tuner.predict_values(TEXTS))
    assert 90 < again.predict_values(TEXTS).mean() < 140


def test_what_peft_reads_holds_no_secret(host: FakeHost, tmp_path: Path) -> None:
    tuner = trained(host)
    folder = export(tuner, tmp_path / "out", "correct horse")
    files = ["README.md", "blindtune.json", "private.safetensors.enc", "set0", "set1"]
    assert sorted(p.name for p in folder.iterdir()) == files
    for i, theta in enumerate(tuner._ready().thetas):
        tensors, metadata = decode((folder / f"set{i}" / "adapter_model.safetensors").read_bytes())
        assert metadata == {"format": "pt"}
        assert json.loads((folder / f"set{i}" / "adapter_config.json").read_text())["r"] == RANK
        flat = [tensors[f"base_model.model.toy.lora_{k}.weight"].ravel() for k in "AB"]
        np.testing.assert_array_equal(np.concatenate(flat), theta)
    secrets = [
        b"positive",
        tuner._ready().home.mixing.weights.tobytes()[:16],
        tuner.folder.secret().secret.hex().encode(),
    ]
    for path in folder.rglob("*"):
        if path.is_file():
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
            assert not any(secret in path.read_bytes() for secret in secrets), path.name


def test_passphrases(host: FakeHost, tmp_path: Path) -> None:
    tuner, client = trained(host, steps=2), Client(host.url, "key")
    shut = export(tuner, tmp_path / "shut", "correct horse")
    with pytest.raises(RunError, match="encrypted; pass its passphrase"):
        load_export(shut, client)
    with pytest.raises(RunError, match=r"private\.safetensors\.enc: wrong passphrase, or the file was changed"):
        load_export(shut, client, passphrase="battery staple")
    with pytest.raises(RunError, match="not encrypted, though a passphrase was given"):
        load_export(export(tuner, tmp_path / "open"), client, passphrase="correct horse")
    with pytest.raises(RunError, match="the passphrase is empty"):
        export(tuner, tmp_path / "empty", "")
    assert not (tmp_path / "empty").exists()


def test_every_changed_byte_is_noticed() -> None:
    body = encrypt(b"content", "correct horse")
    assert decrypt(body, "correct horse", "f") == b"content" and b"content" not in body
    assert encrypt(b"content", "correct horse") != body
    for place in (0, 20, 40, len(body) - 1):
        changed = bytearray(body)
        changed[place] ^= 1
        with pytest.raises(RunError, match="f: "):
            decrypt(bytes(changed), "correct horse", "f")
    for length in (0, 10, 44):
        with pytest.raises(RunError, match="f: not an encrypted private file"):
            decrypt(body[:length], "correct horse", "f")


def test_without_cryptography_the_extra_is_named_and_nothing_written(
    host: FakeHost, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tuner = trained(host, steps=2)
    monkeypatch.setitem(sys.modules, "cryptography", None)
    for name in [name for name in sys.modules if name.startswith("cryptography.")]:
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(MissingExtraError, match=r"blindtune\[encryption\]"):
        export(tuner, tmp_path / "out", "correct horse")
    assert not list(tmp_path.iterdir())


def test_nothing_half_written(host: FakeHost, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tuner = trained(host, steps=2)
    monkeypatch.setattr("blindtune.training.export.write_adapters", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        export(tuner, tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_an_existing_folder_is_left_alone(host: FakeHost, tmp_path: Path) -> None:
    tuner = trained(host, steps=2)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").write_text("mine")
    with pytest.raises(RunError, match="already there"):
        export(tuner, tmp_path / "out")
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["mine"]
    (tmp_path / "out" / "mine").unlink()
    assert export(tuner, tmp_path / "out").is_dir()


def test_what_is_no_export_or_for_another_model_is_refused(host: FakeHost, tmp_path: Path) -> None:
    client = Client(host.url, "key")
    with pytest.raises(RunError, match="no export here"):
        load_export(tmp_path / "none", client)
    assert not (tmp_path / "none").exists()
    folder = export(trained(host, steps=2), tmp_path / "out")
    (folder / "set1" / "adapter_model.safetensors").write_bytes(
        (folder / "private.safetensors").read_bytes()  # tensors, but not these
    )
    with pytest.raises(RunError, match=r"lora_A\.weight of shape \[2, 16\] is missing"):
        load_export(folder, client)


def test_after_complete_the_run_can_still_be_exported(host: FakeHost, tmp_path: Path) -> None:
    tuner = trained(host)
    before = tuner.predict_proba(TEXTS)
    tuner.complete()
    again = load_export(export(tuner, tmp_path / "out"), Client(host.url, "key"))
    np.testing.assert_array_equal(again.predict_proba(TEXTS), before)
    np.testing.assert_array_equal(tuner.predict_proba(TEXTS), before)
