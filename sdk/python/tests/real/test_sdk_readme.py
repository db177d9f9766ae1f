"""The SDK's README does what it says: its code on the host's API, run as it stands there."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
import time
from pathlib import Path
from typing import Any

import pytest

from .conftest import MODEL, RealHost

README = Path(__file__).resolve().parents[2] / "README.md"


def code() -> str:
    """The python blocks of one section, with the name of the backbone that tests have."""
    section = README.read_text(encoding="utf-8").partition("## The host's API\n")[2].partition("\n## ")[0]
    blocks = re.findall(r"```python\n(.*?)```", section, flags=re.DOTALL)
    assert len(blocks) == 5
    return "\n".join(blocks).replace('"minilm"', f'"{MODEL}"')


def test_its_code_runs(hosts: list[RealHost], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.setenv("BLINDTUNE_BASE_URL", hosts[0].url)
    monkeypatch.setenv("BLINDTUNE_API_KEY", hosts[0].make_key())
    monkeypatch.chdir(tmp_path)
    Path("notes.jsonl").write_text('{"text": "a"}\n{"text": "b"}\n')
    names: dict[str, Any] = {}
    exec(compile(code(), str(README), "exec"), names)
    shown = capsys.readouterr().out
    assert f"ft:{MODEL}" in shown and f"{names['job'].id} succeeded" in shown and len(set(names["names"])) == 2
    body = json.dumps({"id": "evt_1", "type": "webhook.test", "data": {"id": "ftjob-1"}}).encode()
    sent = str(int(time.time()))
    mac = hmac.new(b"a key", f"msg_1.{sent}.".encode() + body, hashlib.sha256).digest()
    headers = {"webhook-id": "msg_1", "webhook-timestamp": sent}
    headers["webhook-signature"] = f"v1,{base64.b64encode(mac).decode()}"
    secret = "whsec_" + base64.b64encode(b"a key").decode()
    assert names["on_webhook"](body, headers, secret) == 204
    assert names["on_webhook"](body + b" ", headers, secret) == 400
