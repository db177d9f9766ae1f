"""The check of a webhook's signature: the published example, what the reference library makes and takes, and everything
that is a little different."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import random
import time
from datetime import datetime, timezone

import pytest
import standardwebhooks

from blindtune import AsyncClient, Client, WebhookVerificationError
from blindtune.client import webhooks

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
BODY = json.dumps({"id": "evt_1", "object": "event", "type": "fine_tuning.job.succeeded", "data": {"id": "ftjob-1"}})


def signed(body: str = BODY, *, secret: str = SECRET, at: float | None = None) -> dict[str, str]:
    sent = str(int(time.time() if at is None else at))
    key = base64.b64decode(secret.removeprefix("whsec_"))
    mac = hmac.new(key, f"msg_1.{sent}.{body}".encode(), hashlib.sha256).digest()
    signature = f"v1,{base64.b64encode(mac).decode()}"
    return {"webhook-id": "msg_1", "webhook-timestamp": sent, "webhook-signature": signature}


def test_the_published_example_verifies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time", lambda: 1614265330.0)
    headers = {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }
    with pytest.raises(WebhookVerificationError, match="holds no event"):  # it is signed, but is none of ours
        webhooks.verify('{"test": 2432232314}', headers, SECRET)


@pytest.mark.parametrize("seed", range(20))
def test_the_reference_library_signs_and_takes_the_same(seed: int) -> None:
    draw = random.Random(seed)
    secret = "whsec_" + base64.b64encode(draw.randbytes(24 + 2 * seed)).decode()
    body = json.dumps(
        json.loads(BODY) | {"note": "".join(map(chr, draw.sample(range(32, 0x2000), 50)))}, ensure_ascii=False
    )
    reference, ours = standardwebhooks.Webhook(secret), signed(body, secret=secret)
    sent = datetime.fromtimestamp(int(ours["webhook-timestamp"]), timezone.utc)
    assert reference.sign(ours["webhook-id"], sent, body) == ours["webhook-signature"]
    assert reference.verify(body, ours)["id"] == webhooks.verify(body, ours, secret).id == "evt_1"
    place = draw.randrange(len(body))
    changed = body[:place] + chr(ord(body[place]) + 1) + body[place + 1 :]
    with pytest.raises(WebhookVerificationError):
        webhooks.verify(changed, ours, secret)
    with pytest.raises(standardwebhooks.WebhookVerificationError):
        reference.verify(changed, ours)


def test_what_the_host_signed_is_given_back() -> None:
    event = webhooks.verify(BODY.encode(), {name.title(): value for name, value in signed().items()}, SECRET)
    assert (event.id, event.type, event.data) == ("evt_1", "fine_tuning.job.succeeded", {"id": "ftjob-1"})
    assert Client("http://h").webhooks.verify(BODY, signed(), SECRET) == event
    assert AsyncClient("http://h").webhooks.verify(BODY, signed(), SECRET) == event


def test_one_good_signature_among_several_is_enough() -> None:
    headers = signed()
    headers["webhook-signature"] = f"v1,AAAA v1a,xyz {headers['webhook-signature']}"
    assert webhooks.verify(BODY, headers, SECRET).id == "evt_1"


@pytest.mark.parametrize("change", ["body", "id", "time", "secret", "version", "cut", "empty", "rubbish", "not ascii"])
def test_anything_else_is_refused(change: str) -> None:
    headers, body, secret = signed(), BODY, SECRET
    if change == "body":
        body = BODY.replace("succeeded", "cancelled")
    elif change == "secret":
        secret = "whsec_" + base64.b64encode(b"another secret").decode()
    else:
        signature = headers["webhook-signature"]
        headers |= {
            "id": {"webhook-id": "msg_2"},
            "time": {"webhook-timestamp": str(int(headers["webhook-timestamp"]) + 1)},
            "version": {"webhook-signature": signature.replace("v1,", "v2,")},
            "cut": {"webhook-signature": "v1," + base64.b64encode(base64.b64decode(signature[3:])[:8]).decode()},
            "empty": {"webhook-signature": ""},
            "rubbish": {"webhook-signature": "v1,%%%"},
            "not ascii": {"webhook-signature": "v1,é"},
        }[change]
    with pytest.raises(WebhookVerificationError, match="signature is not"):
        webhooks.verify(body, headers, secret)


@pytest.mark.parametrize(("age", "good"), [(0, True), (290, True), (-290, True), (310, False), (-310, False)])
def test_messages_age(age: int, good: bool) -> None:
    headers = signed(at=time.time() - age)
    if good:
        assert webhooks.verify(BODY, headers, SECRET).id == "evt_1"
    else:
        with pytest.raises(WebhookVerificationError, match="300 s"):
            webhooks.verify(BODY, headers, SECRET)


@pytest.mark.parametrize("missing", ["webhook-id", "webhook-timestamp", "webhook-signature"])
def test_absent_headers_are_refused(missing: str) -> None:
    headers = {name: value for name, value in signed().items() if name != missing}
    with pytest.raises(WebhookVerificationError, match="absent"):
        webhooks.verify(BODY, headers, SECRET)


@pytest.mark.parametrize("secret", ["", "whsec_", "whsec_!!", "whsec_é"])
def test_a_bad_secret_signs_nothing(secret: str) -> None:
    with pytest.raises(WebhookVerificationError, match="secret"):
        webhooks.verify(BODY, signed(), secret)
