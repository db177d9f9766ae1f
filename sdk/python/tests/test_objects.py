"""Objects as they are read and shown: leniently, shortly, without secrets, without markup."""

from __future__ import annotations

import base64
import io
import json
import zipfile
from pathlib import Path

import httpx
import numpy as np
import pytest
from wire import Wire, page

from blindtune import BlindtuneError
from blindtune.arrays import encode
from blindtune.client.objects import ApiKey, Job, Usage, Webhook
from blindtune.client.peft_folders import adapter_folders, unpack


def test_what_is_not_known_is_kept() -> None:
    job = Job.read({"id": "j", "status": "a new status", "colour": "blue"})
    assert job.extra == {"colour": "blue"} and job.status == "a new status" and not job.open


def test_keys_are_never_shown() -> None:
    key = ApiKey.read({"id": "key_1", "name": "laptop", "key": "bt-secret", "scopes": ["jobs:read"]})
    hook = Webhook.read({"id": "wh_1", "url": "https://a.example", "secret": "whsec_secret"})
    assert key.key == "bt-secret" and hook.secret == "whsec_secret"
    for thing in (key, hook):
        assert "secret" not in repr(thing) + str(thing) + thing._repr_html_() + f"{[thing]}"
    assert repr(key) == "ApiKey(id='key_1', name='laptop', scopes=['jobs:read'])"
    unknown = ApiKey.read({"id": "key_1", "a_new_token": "bt-secret"})
    assert "bt-secret" not in repr(unknown) + unknown._repr_html_(), "nor what this release does not know"


def test_html_is_escaped_and_times_are_times() -> None:
    job = Job.read({"id": "<script>x", "model": "<b>&m", "created_at": 1764000000, "metadata": {"<i>": "<u>"}})
    html = job._repr_html_()
    assert "<script" not in html and "<b>&m" not in html and "<i>" not in html and "<u>" not in html
    assert "&lt;b&gt;&amp;m" in html and "2025-11-24 16:00:00 UTC" in html
    assert len(repr(Job.read({"id": "x" * 500}))) < 200


def test_lists_show_their_first_page() -> None:
    rows = [{"id": f"file-{i}", "filename": "<img>", "bytes": i} for i in (1, 2)]
    html = Wire([page(rows, more=True)]).client().files.list()._repr_html_()
    assert html.count("<tr>") == 3 and "&lt;img&gt;" in html and "<img" not in html and "and more" in html
    assert "<table></table>" in Wire([page([], more=False)]).client().files.list()._repr_html_()


def test_usage_shows_rows_and_total() -> None:
    usage = Usage.read({"start_date": "2026-01-01", "data": [{"model": "<m>", "steps": 3}], "total": {"steps": 3}})
    assert "&lt;m&gt;" in usage._repr_html_() and usage._repr_html_().count("<tr>") == 3


def test_activations_and_embeddings_are_arrays() -> None:
    def host(request: httpx.Request) -> httpx.Response:
        asked = json.loads(request.content)
        if request.url.path.endswith("/activations"):
            assert request.headers["accept"] == "application/octet-stream" and "base" not in asked
            assert "idempotency-key" not in request.headers
            return httpx.Response(200, content=encode({"h.0": np.ones((2, 3), np.float32)}, {"prompt_tokens": "7"}))
        vectors = [np.full(3, i, "<f4") for i in range(2)]
        data = [{"index": i, "embedding": base64.b64encode(v.tobytes()).decode()} for i, v in enumerate(vectors)]
        assert asked == {"model": "m", "input": ["a", "b"], "encoding_format": "base64"}
        return httpx.Response(200, json={"data": data[::-1], "model": "m", "usage": {"total_tokens": 4}})

    client = Wire(host).client()
    found = client.activations.create("ft:m", ["a", "b"], adapters=[0])
    assert found.tensors["h.0"].shape == (2, 3) and found.metadata == {"prompt_tokens": "7"}
    embedded = client.embeddings.create("m", ["a", "b"])
    assert embedded.vectors.tolist() == [[0, 0, 0], [1, 1, 1]] and embedded.vectors.dtype == np.float32
    assert embedded.usage == {"total_tokens": 4}


def zipped(*names: str) -> bytes:
    body = io.BytesIO()
    with zipfile.ZipFile(body, "w") as archive:
        for name in names:
            archive.writestr(name, name)
    return body.getvalue()


def peft(*folders: str) -> list[str]:
    return [f"{folder}{name}" for folder in folders for name in ("adapter_config.json", "adapter_model.safetensors")]


def test_adapters_come_as_peft_folders(tmp_path: Path) -> None:
    wire = Wire(lambda _: httpx.Response(200, content=zipped(*peft(*(f"set_{i}/" for i in range(11))))))
    folders = wire.client().models.download_adapter("ft:m/n:p::1", tmp_path)
    assert [folder.name for folder in folders] == [f"set_{i}" for i in range(11)]
    assert (folders[10] / "adapter_config.json").read_text() == "set_10/adapter_config.json"
    assert wire.seen[0].url.raw_path == b"/v1/adapters/ft%3Am%2Fn%3Ap%3A%3A1"
    assert adapter_folders(tmp_path) == folders
    assert unpack(zipped(*peft("")), tmp_path / "one") == (tmp_path / "one",)
    assert adapter_folders(tmp_path / "one") == (tmp_path / "one",)


@pytest.mark.parametrize("name", ["../adapter_config.json", "/tmp/adapter_config.json", "set_0/run.py", "a/../../b"])
def test_a_zip_that_leaves_its_folder_writes_nothing(tmp_path: Path, name: str) -> None:
    with pytest.raises(BlindtuneError, match="no part of an adapter"):
        unpack(zipped("set_0/adapter_config.json", name), tmp_path / "out")
    assert not (tmp_path / "out").exists()
    with pytest.raises(BlindtuneError, match="no zip"):
        unpack(b"<html>", tmp_path / "out")


def test_adapters_are_uploaded_set_by_set(tmp_path: Path) -> None:
    unpack(zipped(*peft("set_0/", "set_1/")), tmp_path)
    wire = Wire(lambda _: httpx.Response(200, json={"id": "ft:m", "object": "model", "base_model": "m"}))
    assert wire.client().models.upload_adapter("m", tmp_path, suffix="mine").base_model == "m"
    body = wire.seen[0].content
    order = [body.index(text.encode()) for text in ("base_model", "mine", *peft("set_0/", "set_1/"))]
    assert order == sorted(order) and body.count(b'name="config"') == 2 and body.count(b'name="weights"') == 2
    assert body.count(b"Content-Digest: sha-256=:") == 2, "weights are compared on the host"
    with pytest.raises(BlindtuneError, match="no PEFT folder"):
        wire.client().models.upload_adapter("m", [tmp_path / "set_0", tmp_path / "nowhere"])
    assert len(wire.seen) == 1
