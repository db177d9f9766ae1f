"""`blindtuned models add` takes a backbone from a hub: the endpoint and the token come from the environment."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from .conftest import RealHost

COMMIT = "0123456789abcdef0123456789abcdef01234567"
FILES = ["config.json", "tokenizer.json", "model.safetensors"]


class Hub(ThreadingHTTPServer):
    """A model hub with one model, on loopback; remembers the tokens it was shown and the files it gave."""

    def __init__(self, backbone: Path) -> None:
        super().__init__(("127.0.0.1", 0), HubHandler)
        self.backbone = backbone
        self.tokens: set[str | None] = set()
        self.given: set[str] = set()


class HubHandler(BaseHTTPRequestHandler):
    """The two calls of a hub that a client makes: what is there, and give it to me."""

    server: Hub

    def do_GET(self) -> None:
        self.server.tokens.add(self.headers.get("authorization"))
        if self.path.startswith("/api/models/org/mini"):
            names = [*FILES, "pytorch_model.bin", "modeling_mini.py"]
            body = json.dumps({"sha": COMMIT, "siblings": [{"rfilename": name} for name in names]}).encode()
            return self._give(200, body, len(body), 0)
        name = self.path.rsplit("/", 1)[-1]
        if name not in FILES:
            return self._give(404, b"", 0, 0)
        self.server.given.add(name)
        whole = (self.server.backbone / name).read_bytes()
        start, _, end = self.headers.get("range", "bytes=0-").removeprefix("bytes=").partition("-")
        first, last = int(start), min(int(end) if end else len(whole) - 1, len(whole) - 1)
        return self._give(206, whole[first : last + 1], len(whole), first)

    def _give(self, status: int, body: bytes, total: int, first: int) -> None:
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.send_header("x-repo-commit", COMMIT)
        self.send_header("etag", f'"{self.path.rsplit("/", 1)[-1]}"')
        self.send_header("content-range", f"bytes {first}-{first + len(body) - 1}/{total}")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Tests print nothing."""


@pytest.fixture
def hub() -> Iterator[Hub]:
    backbone = os.environ.get("BLINDTUNE_MINILM")
    if not backbone:
        pytest.skip("BLINDTUNE_MINILM is not set; make test-sdk sets it")
    made = Hub(Path(backbone))
    threading.Thread(target=made.serve_forever, daemon=True).start()
    yield made
    made.shutdown()
    made.server_close()


def test_a_hub_model_is_fetched_and_served(hosts: list[RealHost], hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{hub.server_address[1]}")
    monkeypatch.setenv("HF_TOKEN", "a-token")
    said = hosts[0].command("models", "add", "org/mini")
    assert said.startswith("org/mini: bert, 22713216 parameters")
    assert hub.tokens == {"Bearer a-token"}
    assert hub.given == set(FILES), "no pickle and no code was taken"
    assert "org/mini" in [model.id for model in hosts[0].client().models.list()]
