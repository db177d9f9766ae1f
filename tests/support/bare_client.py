"""The few calls that Python tests of the contract need to make objects: JSON over urllib, no package.

Never: a check. What the host refuses is an exception with its body.
"""

from __future__ import annotations

import base64
import json
import struct
import urllib.error
import urllib.request
import uuid
from typing import Any

from tiny_host import MODEL, WIDTH

ROWS = b'{"text": "w5 w6"}\n{"text": "w7"}\n{"text": "w8 w9 w10"}\n'
SETTINGS: dict[str, object] = {"adapter_sets": 1, "lora": {"rank": 2}}
SPLIT = {"type": "split", "split": SETTINGS}
HOSTED = {"type": "split", "split": SETTINGS | {"custody": "host"}}


class Refused(Exception):
    """An answer that is not a success."""


class BareClient:
    """One project of one host, by a key."""

    def __init__(self, url: str, key: str) -> None:
        self.url, self.key = url, key

    def call(self, method: str, path: str, body: object = None) -> dict[str, Any]:
        """One JSON request."""
        payload = None if body is None else json.dumps(body).encode()
        return self._send(method, path, payload, "application/json")

    def upload(self, filename: str = "rows.jsonl", content: bytes = ROWS, purpose: str = "fine-tune") -> dict[str, Any]:
        """A file."""
        mark = uuid.uuid4().hex
        head = f'--{mark}\r\ncontent-disposition: form-data; name="purpose"\r\n\r\n{purpose}\r\n--{mark}\r\n'
        head += f'content-disposition: form-data; name="file"; filename="{filename}"\r\n\r\n'
        payload = head.encode() + content + f"\r\n--{mark}--\r\n".encode()
        return self._send("POST", "/v1/files", payload, f"multipart/form-data; boundary={mark}")

    def job(self, **fields: object) -> dict[str, Any]:
        """A job of one small adapter set."""
        return self.call("POST", "/v1/fine_tuning/jobs", {"model": MODEL, "seed": 7, "method": SPLIT} | fields)

    def step(self, job: str, seq: int) -> str:
        """A forward and a backward with the seqs `seq` and `seq + 1`; the forward's id."""
        path = f"/v1/fine_tuning/jobs/{job}"
        forward = self.call("POST", f"{path}/forward", {"seq": seq, "texts": ["w5 w6", "w7"]})["forward_id"]
        shares = {"s.0.0": tensor([2, WIDTH], [0.01] * (2 * WIDTH))}
        self.call("POST", f"{path}/backward", {"seq": seq + 1, "forward_id": forward, "shares": shares})
        return str(forward)

    def model(self, **fields: object) -> str:
        """A fine-tuned model, by a job in host custody of one step."""
        job = self.job(method=HOSTED, **fields)["id"]
        self.step(job, 1)
        self.call("POST", f"/v1/fine_tuning/jobs/{job}/optim_step", {"seq": 3, "lr": 0.01})
        self.call("POST", f"/v1/fine_tuning/jobs/{job}/checkpoints")
        return str(self.call("POST", f"/v1/fine_tuning/jobs/{job}/complete")["fine_tuned_model"])

    def _send(self, method: str, path: str, payload: bytes | None, media_type: str) -> dict[str, Any]:
        request = urllib.request.Request(self.url + path, payload, method=method)
        request.add_header("authorization", f"Bearer {self.key}")
        if payload is not None:
            request.add_header("content-type", media_type)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                found: dict[str, Any] = json.loads(answer.read())
                return found
        except urllib.error.HTTPError as error:
            raise Refused(f"{method} {path}: {error.code} {error.read().decode(errors='replace')}") from None


def tensor(shape: list[int], values: list[float]) -> dict[str, object]:
    """A tensor in JSON form."""
    return {"dtype": "F32", "shape": shape, "data": base64.b64encode(struct.pack(f"<{len(values)}f", *values)).decode()}
