"""What is around the jobs, on a real host: inference, estimates, webhooks, keys, usage."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import numpy as np
import pytest
import standardwebhooks

from blindtune import AsyncClient, Client, ForwardRequest, WebhookVerificationError
from blindtune import errors as e

from .conftest import MODEL, RealHost

TEXTS = ["the man is well again", "the child cannot sleep"]


def test_activations_and_embeddings(hosts: list[RealHost]) -> None:
    client = hosts[0].client()
    base = client.activations.create(MODEL, TEXTS).tensors["h.base"]
    assert base.shape == (2, 384)
    assert np.allclose(client.embeddings.create(MODEL, TEXTS).vectors, base, atol=1e-5)
    assert client.activations.create(MODEL, [("a", "b")], pooling="cls").tensors["h.base"].shape == (1, 384)
    assert client.activations.create(MODEL, "one text").tensors["h.base"].shape == (1, 384)

    async def same() -> None:
        async with AsyncClient(hosts[0].url, hosts[0].api_key) as other:
            answers = await asyncio.gather(*(other.activations.create(MODEL, [text]) for text in TEXTS))
            together = np.concatenate([answer.tensors["h.base"] for answer in answers])
            assert np.allclose(together, base, atol=1e-4)

    asyncio.run(same())


def test_batches_are_answered_like_live_calls(hosts: list[RealHost]) -> None:
    client = hosts[0].client()
    bodies = [{"model": MODEL, "input": text} for text in (*TEXTS, "")]
    lines = [
        {"custom_id": str(at), "method": "POST", "url": "/v1/embeddings", "body": body}
        for at, body in enumerate(bodies)
    ]
    file = client.files.create(("requests.jsonl", "\n".join(map(json.dumps, lines)).encode()), purpose="batch")
    made = client.batches.create(file.id, "/v1/embeddings", metadata={"team": "a"})
    assert made.open and made.status == "validating"
    done = client.batches.wait(made.id, poll_s=0.05, max_wait_s=60)
    assert (done.status, done.request_counts["completed"], done.request_counts["failed"]) == ("completed", 2, 1)
    assert done.output_file_id is not None and done.error_file_id is not None
    answers = [json.loads(line) for line in client.files.content(done.output_file_id).splitlines()]
    assert [answer["custom_id"] for answer in answers] == ["0", "1"]
    vectors = np.array([answer["response"]["body"]["data"][0]["embedding"] for answer in answers], np.float32)
    assert np.allclose(vectors, client.embeddings.create(MODEL, TEXTS).vectors, atol=1e-5)
    refused = json.loads(client.files.content(done.error_file_id))
    assert (refused["custom_id"], refused["response"]["status_code"]) == ("2", 400)
    assert made.id in [batch.id for batch in client.batches.list()]
    with pytest.raises(e.ConflictError):
        client.batches.cancel(made.id)


def test_estimates_and_capabilities(hosts: list[RealHost]) -> None:
    client = hosts[0].client()
    estimate = client.jobs.estimate(MODEL, rows=64, tokens_per_row=8, batch_size=8, n_epochs=1)
    assert estimate.steps == 8 and estimate.seconds > 0 and estimate.bytes_down > 0 and estimate.measured_steps > 0
    able = client.jobs.capabilities()
    assert "split" in able.methods and MODEL in [model["id"] for model in able.models]
    assert able.device and able.device in repr(able)


def test_events_and_use_of_all_jobs(hosts: list[RealHost]) -> None:
    client = hosts[0].client()
    first = client.jobs.create(MODEL)
    stream = client.events.stream()
    told: list[tuple[str, object]] = []

    def listen() -> None:
        while len(told) < 2:
            event = next(stream)
            if "status" in event.data:
                told.append((event.job_id, event.data["status"]))

    listening = threading.Thread(target=listen, daemon=True)
    listening.start()
    time.sleep(0.5)
    client.jobs.cancel(first.id)
    second = client.jobs.create(MODEL)
    listening.join(30)
    stream.close()
    assert told == [(first.id, "cancelled"), (second.id, "running")], "from now on, in order"
    newest = next(client.events.list(limit=1))
    assert newest.job_id == second.id
    client.forward(second.id, ForwardRequest(texts=TEXTS, seq=1))
    rows = {row["job_id"]: row for row in client.usage.retrieve(group_by=["job"]).data}
    assert rows[second.id]["steps"] == 1 and rows[second.id]["bytes_out"] == client.jobs.retrieve(second.id).bytes_out
    client.jobs.cancel(second.id)


class Receiver(HTTPServer):
    """Keeps what is posted to it."""

    def __init__(self) -> None:
        self.got: list[tuple[bytes, dict[str, str]]] = []
        self.came = threading.Event()
        super().__init__(("127.0.0.1", 0), Inbox)


class Inbox(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.server.got.append((body, dict(self.headers)))
        self.send_response(204)
        self.end_headers()
        self.server.came.set()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    server = Receiver()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def test_webhooks_come_and_verify(hosts: list[RealHost], receiver: Receiver) -> None:
    client = hosts[0].client()
    hook = client.webhooks.create(f"http://127.0.0.1:{receiver.server_port}/in", ["fine_tuning.job.cancelled"])
    assert hook.secret is not None and hook.secret not in repr(hook)
    sent = client.webhooks.test(hook.id)
    assert receiver.came.wait(15)
    (body, headers), *_ = receiver.got
    assert client.webhooks.verify(body, headers, hook.secret).type == "webhook.test"
    assert standardwebhooks.Webhook(hook.secret).verify(body, headers)["type"] == "webhook.test"
    with pytest.raises(WebhookVerificationError):
        client.webhooks.verify(body + b" ", headers, hook.secret)
    assert sent.id in [delivery.id for delivery in client.webhooks.deliveries(hook.id)]
    receiver.came.clear()
    assert client.webhooks.replay(hook.id, sent.id).state == "pending"
    assert receiver.came.wait(15) and receiver.got[1][0] == body
    receiver.came.clear()
    job = client.jobs.create(MODEL).cancel()
    assert receiver.came.wait(15)
    event = client.webhooks.verify(*receiver.got[2], hook.secret)
    assert (event.type, event.data["id"]) == ("fine_tuning.job.cancelled", job.id)
    receipt = client.jobs.delete(job.id)
    assert receipt.deleted and receipt.erased["events"] >= 1
    with pytest.raises(e.NotFoundError):
        client.jobs.retrieve(job.id)
    rotated = client.webhooks.rotate_secret(hook.id)
    assert rotated.secret is not None and rotated.secret != hook.secret
    receiver.came.clear()
    client.webhooks.test(hook.id)
    assert receiver.came.wait(15)
    for secret in (hook.secret, rotated.secret):
        assert client.webhooks.verify(*receiver.got[3], secret).type == "webhook.test"
    assert client.webhooks.update(hook.id, enabled=False).enabled is False
    assert client.webhooks.retrieve(hook.id).secret is None
    client.webhooks.delete(hook.id)
    assert hook.id not in [other.id for other in client.webhooks.list()]


def test_keys_usage_and_the_audit_log(hosts: list[RealHost]) -> None:
    admin = Client(hosts[0].url, hosts[0].make_key("--scopes", "admin,jobs:read,models:read"))
    made = admin.api_keys.create("a reader", scopes=["models:read"], days=1, requests_per_minute=600)
    assert made.key is not None and made.key not in repr(made) and made.requests_per_minute == 600
    reader = Client(hosts[0].url, made.key)
    assert MODEL in [model.id for model in reader.models.list()]
    with pytest.raises(e.PermissionDeniedError):
        reader.files.create(("a.jsonl", b'{"text": "a"}\n'))
    assert admin.api_keys.retrieve(made.id).key is None
    assert made.id in [key.id for key in admin.api_keys.list()]
    admin.api_keys.delete(made.id)
    assert admin.api_keys.retrieve(made.id).revoked_at is not None
    entries = list(admin.audit_log.list())
    assert made.id in [entry.resource for entry in entries] and all(entry.action for entry in entries)
    deadline = time.monotonic() + 20  # the host writes its counts down each second
    while not (usage := admin.usage.retrieve(group_by=["key", "model", "day"])).data and time.monotonic() < deadline:
        time.sleep(0.5)
    assert usage.total["requests"] > 0 and usage.data and "<table>" in usage._repr_html_()
