"""The store of hidden states: what it has is not asked again, and what a crash or a disk spoils is."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from conftest import sentiment
from fake_features import LEVELS
from fake_host import FakeHost, Fault

from blindtune import Client, RunError, Tuner
from blindtune.cli import main
from blindtune.data.taps import Taps
from blindtune.errors import PayloadTooLargeError
from blindtune.features import FeatureSource, FeatureStore, download, estimate_size


def some_taps(lengths: list[int], seed: int = 0) -> Taps:
    rng = np.random.default_rng(seed)
    levels = [rng.standard_normal((sum(lengths), 4)).astype(np.float16) for _ in range(2)]
    return Taps.of(levels, np.array(lengths))


def same(found: Taps, expected: Taps) -> None:
    np.testing.assert_array_equal(found.offsets, expected.offsets)
    for a, b in zip(found.levels, expected.levels, strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, b)


def test_texts_come_back_from_several_files_in_any_order(tmp_path: Path) -> None:
    store = FeatureStore(tmp_path)
    one, two = some_taps([3, 1, 2]), some_taps([5, 4], seed=1)
    store.add(["a", "b", "c"], one)
    store.add(["d", "e"], two)
    same(store.read(["d", "e"]), two)
    same(store.read(["c", "e", "a", "c"]), Taps.joined([one, two]).take(np.array([2, 4, 0, 2])))
    assert store.missing(["a", "x", "e", "y", "x"]) == [1, 3]
    with pytest.raises(RunError, match="removed while they were in use"):
        store.read(["a", "x"])


def test_another_process_finds_what_one_has_kept(tmp_path: Path) -> None:
    FeatureStore(tmp_path).add(["a"], some_taps([2]))
    again = FeatureStore(tmp_path)
    assert again.missing(["a"]) == []
    same(again.read(["a"]), some_taps([2]))
    made = FeatureStore(tmp_path / "new").folder
    assert made.stat().st_mode & 0o077 == 0, "nobody else reads what was computed of the texts"


@pytest.mark.parametrize("spoil", ["shorten", "flip", "remove"])
def test_a_file_that_is_not_what_was_written_is_asked_for_again(tmp_path: Path, spoil: str) -> None:
    FeatureStore(tmp_path).add(["a", "b"], some_taps([2, 3]))
    FeatureStore(tmp_path).add(["c"], some_taps([2], seed=2))
    file = max(tmp_path.glob("*.safetensors"), key=lambda path: path.stat().st_size)
    body = file.read_bytes()
    if spoil == "remove":
        file.unlink()
    else:
        file.write_bytes(body[:-1] if spoil == "shorten" else body[:-1] + bytes([body[-1] ^ 1]))
    store = FeatureStore(tmp_path)
    assert store.missing(["a", "b", "c"]) == [0, 1]
    same(store.read(["c"]), some_taps([2], seed=2))
    store.add(["a", "b"], some_taps([2, 3]))
    same(store.read(["b"]), some_taps([2, 3]).take(np.array([1])))


def test_what_was_used_least_recently_makes_room(tmp_path: Path) -> None:
    FeatureStore(tmp_path).add(["a"], some_taps([50]))
    size = FeatureStore(tmp_path).size()
    store = FeatureStore(tmp_path, limit=3 * size)
    store.add(["b"], some_taps([50]))
    store.add(["c"], some_taps([50]))
    store.read(["a"])
    store.add(["d"], some_taps([50]))
    assert store.missing(["a", "b", "c", "d"]) == [1] and store.size() == 3 * size
    assert len(list(tmp_path.glob("*.safetensors"))) == 3
    assert store.clear() == 3 * size and store.size() == 0 and not list(tmp_path.glob("*.safetensors"))


def test_a_download_asks_for_each_text_once(fake_host: FakeHost, tmp_path: Path) -> None:
    source, store = FeatureSource(Client(fake_host.url, "key"), "toy", chunk=4), FeatureStore(tmp_path / "features")
    texts = ["a good film", "the plot", "a good film", "and of", "music"]
    download(source, texts, store)
    asked = [text for _, _, body in fake_host.seen for text in json.loads(body)["input"]]
    assert asked == ["a good film", "the plot", "and of", "music"]
    taps = store.read([source.key(text) for text in texts])
    assert len(taps.levels) == LEVELS and list(np.diff(taps.offsets)) == [3, 2, 3, 2, 1]
    np.testing.assert_array_equal(taps.levels[0][:3], taps.levels[0][5:8])
    np.testing.assert_array_equal(taps.levels[2], np.roll(taps.levels[0], 2, axis=1))
    download(source, ["music", "new"], store)
    assert json.loads(fake_host.seen[-1][2])["input"] == ["new"]
    other = FeatureSource(source.client, "toy", layers=[0, 2])
    assert store.missing([other.key("music")]) == [0], "other levels are other features"


def test_an_answer_that_a_host_finds_too_large_is_asked_for_in_parts(fake_host: FakeHost, tmp_path: Path) -> None:
    source, store = FeatureSource(Client(fake_host.url, "key"), "toy", chunk=10), FeatureStore(tmp_path)
    texts = [f"text number {k}" for k in range(10)]
    fake_host.faults.append(Fault("activations", status=413, times=2))
    download(source, texts, store)
    asked = [json.loads(body)["input"] for _, _, body in fake_host.seen]
    assert asked == [texts, texts[:5], texts[:2], texts[2:5], texts[5:]]
    same(store.read([source.key(text) for text in texts]), source.ask(texts))
    fake_host.faults.append(Fault("activations", status=413, times=9))
    with pytest.raises(PayloadTooLargeError):
        source.ask(["one text alone"])


def test_what_would_not_fit_is_refused_after_the_first_answer(fake_host: FakeHost, tmp_path: Path) -> None:
    source, store = FeatureSource(Client(fake_host.url, "key"), "toy", chunk=10), FeatureStore(tmp_path, limit=5000)
    with pytest.raises(RunError, match=r"too large to keep: 100 texts, .* tokens, 3 levels of 16 features.*layers=4"):
        download(source, list(sentiment(100).texts), store)
    assert len(fake_host.seen) == 1 and store.size() == 0


def test_the_size_is_known_before(fake_host: FakeHost, tmp_path: Path) -> None:
    source, texts = FeatureSource(Client(fake_host.url, "key"), "toy"), sentiment(200).texts
    size = estimate_size(source, texts)
    assert (size.texts, size.levels, size.width) == (200, LEVELS, 16)
    assert size.tokens == sum(len(text.split()) for text in texts)
    download(source, texts, store := FeatureStore(tmp_path))
    assert size.bytes <= store.size() <= size.bytes + 4000


def test_two_runs_share_what_was_asked_for(fake_host: FakeHost, tmp_path: Path) -> None:
    client, data = Client(fake_host.url, "key"), sentiment(100)
    few = {"method": "side", "epochs": 1, "networks": 1, "progress": False, "features": tmp_path / "shared"}
    first = Tuner("toy", [client], **few)
    first.fit(data)
    asked = len(fake_host.seen)
    second = Tuner("toy", [client], seed=1, **few)
    second.fit(data)
    assert len(fake_host.seen) == asked
    fewer = Tuner("toy", [client], layers=[0, 2], **few)
    fewer.fit(data)
    assert len(fake_host.seen) == 2 * asked
    assert json.loads(fake_host.seen[-1][2])["layers"] == [0, 2]


def test_the_shell_says_how_much_it_will_be(
    fake_host: FakeHost, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BLINDTUNE_API_KEY", "key")
    (tmp_path / "texts.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in sentiment(60).texts))
    words = ["--data", str(tmp_path / "texts.jsonl"), "--model", "toy", "--host", fake_host.url]
    assert main(["features", "estimate", *words]) == 0
    assert capsys.readouterr().out.startswith("60 texts, about ")
    assert main(["features", "estimate", *words, "--layers", "0,2", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["levels"] == 2 and found["bytes"] == found["tokens"] * 2 * 16 * 2
    assert main(["features", "estimate", *words, "--layers", "some"]) == 2
    assert "layers must be all, a number of levels or levels like 0,3,6" in capsys.readouterr().err
    FeatureStore().add(["a"], some_taps([100]))
    assert main(["features", "clear"]) == 0
    assert "removed 0 MB from" in capsys.readouterr().out and FeatureStore().size() == 0
