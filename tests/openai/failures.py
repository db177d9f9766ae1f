"""What the stock package makes of refusals, lost answers and busy hosts, and the webhooks that it unwraps."""

from __future__ import annotations

import socket
import threading

import openai
import pytest
from bare_client import SPLIT, BareClient, Refused
from desk import Desk, items
from relays import busy_caller, draining, receiver, relay_to
from tiny_host import MODEL, TinyHost


async def test_wrong_key(desk: Desk) -> None:
    """401 AuthenticationError"""
    with pytest.raises(openai.AuthenticationError) as refused:
        await desk.another(api_key="sk-nonsense").models.list()
    assert (refused.value.code, refused.value.type) == ("invalid_api_key", "authentication_error")


async def test_unknown_job(desk: Desk) -> None:
    """404 NotFoundError"""
    with pytest.raises(openai.NotFoundError) as refused:
        await desk.client.fine_tuning.jobs.retrieve("ftjob-" + "0" * 32)
    assert refused.value.code == "not_found"


async def test_unusable_tensor(desk: Desk, bare: BareClient) -> None:
    """422 UnprocessableEntityError"""
    job = bare.job()["id"]
    forward = bare.call("POST", f"/v1/fine_tuning/jobs/{job}/forward", {"seq": 1, "texts": ["w5"]})["forward_id"]
    share = {"dtype": "F32", "shape": [1, 1], "data": "AACAPw=="}
    with pytest.raises(openai.UnprocessableEntityError) as refused:
        await desk.client.post(
            f"/fine_tuning/jobs/{job}/backward",
            cast_to=object,
            body={"seq": 2, "forward_id": forward, "shares": {"s.0.0": share}},
        )
    assert refused.value.code == "tensor_invalid"


async def test_rate_limit(desk: Desk, admin: BareClient) -> None:
    """429 RateLimitError, and retry after retry-after-ms"""
    slow = admin.call("POST", "/v1/api_keys", {"name": "slow", "requests_per_minute": 20})["key"]
    hasty, patient = desk.another(api_key=slow, max_retries=0), desk.another(api_key=slow)
    with pytest.raises(openai.RateLimitError) as refused:
        for _ in range(100):  # again where the machine was so busy that a request came back to the key meanwhile
            spend(BareClient(desk.url, slow))
            await hasty.models.list()
    assert 0 < int(refused.value.response.headers["retry-after-ms"]) <= 3100
    assert refused.value.response.headers["x-ratelimit-limit-requests"] == "20"
    assert await items(patient.models.list()), "the client waits and comes through"


def spend(client: BareClient) -> None:
    """All requests of a key's minute."""
    with pytest.raises(Refused, match="429"):
        for _ in range(100):
            client.call("GET", "/v1/models")


async def test_spent_budget(desk: Desk, admin: BareClient) -> None:
    """429 insufficient_quota, asked once"""
    poor = admin.call("POST", "/v1/api_keys", {"name": "poor", "monthly_tokens": 0})["key"]
    with relay_to(desk.url) as relay, pytest.raises(openai.RateLimitError) as refused:
        await desk.another(base_url=f"{relay.url}/v1", api_key=poor).embeddings.create(model=MODEL, input="w5")
    assert (refused.value.code, relay.retries) == ("insufficient_quota", ["0"])


async def test_busy_host(desk: Desk, narrow: TinyHost) -> None:
    """503 InternalServerError, and retry"""
    key = narrow.key(f"busy-{desk.kind}")
    with busy_caller("127.0.0.1", narrow.port, key) as line:
        with pytest.raises(openai.InternalServerError) as refused:
            await desk.another(base_url=f"{narrow.url}/v1", api_key=key, max_retries=0).models.list()
        assert refused.value.status_code == 503 and int(refused.value.response.headers["retry-after-ms"]) > 0
        threading.Timer(0.5, line.shutdown, [socket.SHUT_RDWR]).start()
        assert await items(desk.another(base_url=f"{narrow.url}/v1", api_key=key).models.list())


async def test_draining_host(desk: Desk, narrow: TinyHost) -> None:
    """503 of a host that drains, and retry at its successor"""
    with draining(narrow) as relay:
        found = await desk.another(base_url=relay.url).get("/readyz", cast_to=object)
    assert relay.answers == ["503 shutting_down", "200"] and relay.retries == ["0", "1"]
    assert found["status"] == "ok"


async def test_conflict_is_not_retried(desk: Desk, bare: BareClient) -> None:
    """409 ConflictError, asked once"""
    job = bare.job()["id"]
    bare.call("POST", f"/v1/fine_tuning/jobs/{job}/cancel")
    with relay_to(desk.url) as relay:
        with pytest.raises(openai.ConflictError) as refused:
            await desk.another(base_url=f"{relay.url}/v1").fine_tuning.jobs.cancel(job)
        assert (refused.value.code, relay.retries) == ("invalid_job_state", ["0"])


async def test_lost_answer_makes_one_job(desk: Desk) -> None:
    """jobs.create retried silently: one job"""
    with relay_to(desk.url) as relay:
        relay.cut = 1
        client = desk.another(base_url=f"{relay.url}/v1")
        made = await client.fine_tuning.jobs.create(
            model=MODEL, training_file=None, extra_body={"method": SPLIT}, metadata={"made": "once"}
        )
    assert relay.retries == ["0", "1"]
    found = await items(desk.client.fine_tuning.jobs.list(metadata={"made": "once"}))
    assert [job.id for job in found] == [made.id]


async def test_idempotency_key(desk: Desk) -> None:
    """jobs.create with Idempotency-Key"""
    create, headers = desk.client.fine_tuning.jobs.create, {"Idempotency-Key": f"once-{desk.kind}"}
    first = await create(model=MODEL, training_file=None, extra_headers=headers)
    assert (await create(model=MODEL, training_file=None, extra_headers=headers)).id == first.id
    with pytest.raises(openai.UnprocessableEntityError) as refused:
        await create(model=MODEL, training_file=None, suffix="another", extra_headers=headers)
    assert refused.value.code == "idempotency_conflict"


async def test_request_id(desk: Desk) -> None:
    """.request_id of answers and errors"""
    found = await desk.client.models.retrieve(MODEL)
    with pytest.raises(openai.NotFoundError) as refused:
        await desk.client.models.retrieve("nobody")
    assert found._request_id and refused.value.request_id and found._request_id != refused.value.request_id


async def test_webhook(desk: Desk, bare: BareClient) -> None:
    """webhooks.unwrap of a delivery"""
    with receiver() as (url, got):
        hook = bare.call("POST", "/v1/webhooks", {"url": url, "events": ["fine_tuning.job.cancelled"]})
        job = bare.job()["id"]
        await desk.client.fine_tuning.jobs.cancel(job)
        message = got.get(timeout=20)
    webhooks = openai.OpenAI(api_key=desk.key, base_url=desk.url).webhooks
    event = webhooks.unwrap(message.body, message.headers, secret=hook["secret"])
    assert (event.type, event.data.id) == ("fine_tuning.job.cancelled", job)
    with pytest.raises(openai.InvalidWebhookSignatureError):
        webhooks.unwrap(message.body + b" ", message.headers, secret=hook["secret"])
