"""The client against a tiny host: retries, waiting as asked, errors by status, identical bytes."""

from __future__ import annotations

import base64
import hashlib
import time

import httpx
import numpy as np
import pytest
from fake_host import FakeHost, Fault
from httpx import Headers

from blindtune import ApiConnectionError, BlindtuneError, Client
from blindtune import errors as e
from blindtune.client import normalize_url
from blindtune.client.step_calls import BackwardRequest, ForwardRequest
from blindtune.client.transport import RetryPolicy, retry_after

QUICK = RetryPolicy(patience_s=3.0, first_wait_s=0.01)
ENVELOPE = {"error": {"message": "no", "type": "t", "param": "line 3: label", "code": "label_present"}}


def client_of(host: FakeHost, **options: object) -> Client:
    return Client(host.url, "key", retry=RetryPolicy(**{"patience_s": 3.0, "first_wait_s": 0.01, **options}))  # type: ignore[arg-type]


def make_job(client: Client) -> str:
    file = client.files.create(("x.jsonl", b'{"text": "a b"}\n{"text": "c d"}\n'))
    return client.jobs.create("toy", {"split": {"adapter_sets": 1}}, training_file=file.id, seed=1).id


@pytest.mark.parametrize("status", [408, 429, 503, 500])
def test_retries_until_there_is_an_answer(fake_host: FakeHost, status: int) -> None:
    fake_host.faults = [Fault("files", status, times=2)]
    client = client_of(fake_host)
    assert client.files.create(("x.jsonl", b'{"text": "a"}\n')).rows == 1
    assert client.traffic.retries == 2 and client.traffic.requests == 3


def test_a_cut_connection_is_retried_with_the_same_bytes(fake_host: FakeHost) -> None:
    client = client_of(fake_host)
    job = make_job(client)
    fake_host.faults = [Fault("forward", cut=True), Fault("forward", cut=True, after=True)]
    answer = client.forward(job, ForwardRequest(rows=np.array([0, 1]), seq=1, base=True))
    assert set(answer.tensors) == {"h.0", "h.base"} and answer.metadata["seq"] == "1"
    sent = [body for _, path, body in fake_host.seen if "forward" in path]
    assert len(sent) == 3 and len(set(sent)) == 1


def test_waits_as_long_as_asked(fake_host: FakeHost) -> None:
    fake_host.faults = [Fault("files", 429, {"retry-after-ms": "150", "retry-after": "60"})]
    started = time.monotonic()
    client_of(fake_host).files.create(("x.jsonl", b'{"text": "a"}\n'))
    assert 0.15 <= time.monotonic() - started < 30, "the other header asks for a minute"


def test_does_not_retry_what_will_not_change(fake_host: FakeHost) -> None:
    fake_host.faults = [Fault("jobs", 400, body=ENVELOPE), Fault("jobs", 503, {"x-should-retry": "false"}, ENVELOPE)]
    client = client_of(fake_host)
    with pytest.raises(e.BadRequestError):
        client.jobs.retrieve("x")
    with pytest.raises(e.ServerError):
        client.jobs.retrieve("x")
    assert client.traffic.retries == 0


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, e.BadRequestError),
        (401, e.AuthenticationError),
        (403, e.PermissionDeniedError),
        (404, e.NotFoundError),
        (409, e.ConflictError),
        (413, e.PayloadTooLargeError),
        (422, e.UnprocessableEntityError),
        (501, e.ServerError),
    ],
)
def test_errors_by_status(fake_host: FakeHost, status: int, kind: type[e.ApiError]) -> None:
    fake_host.faults = [Fault("jobs", status, body=ENVELOPE)]
    with pytest.raises(kind) as caught:
        client_of(fake_host).jobs.retrieve("x")
    error = caught.value
    assert (error.status, error.code, error.param, error.message) == (status, "label_present", "line 3: label", "no")
    assert error.request_id == "req-1" and "label_present" in str(error)


def test_an_error_without_envelope_is_an_error_still() -> None:
    error = e.error_from(502, b"<html>bad gateway", None)
    assert isinstance(error, e.ServerError) and error.code is None and "bad gateway" in error.message


def test_gives_up_when_patience_ends(fake_host: FakeHost) -> None:
    client = client_of(fake_host, patience_s=0.3, first_wait_s=0.05)
    with pytest.raises(e.NotFoundError):
        client.jobs.retrieve("x")
    fake_host.faults = [Fault("jobs", cut=True, times=99)]
    with pytest.raises(ApiConnectionError, match=r"127\.0\.0\.1") as caught:
        client.jobs.retrieve("x")
    assert not isinstance(caught.value, e.HostUnreachableError) and client.traffic.retries >= 1


def test_host_and_key_come_from_the_environment(monkeypatch: pytest.MonkeyPatch, fake_host: FakeHost) -> None:
    monkeypatch.delenv("BLINDTUNE_BASE_URL", raising=False)
    with pytest.raises(BlindtuneError, match="BLINDTUNE_BASE_URL"):
        Client()
    monkeypatch.setenv("BLINDTUNE_BASE_URL", fake_host.url)
    monkeypatch.setenv("BLINDTUNE_API_KEY", "secret-key")
    client = Client()
    assert client.base_url == fake_host.url + "/v1/" and "secret-key" not in repr(client)


@pytest.mark.parametrize("url", ["h:1", "http://h:1", "http://h:1/", "http://h:1/v1", "http://h:1/v1/"])
def test_urls_are_completed(url: str) -> None:
    assert normalize_url(url) == "http://h:1/v1/"


def test_step_calls_encode_the_contract() -> None:
    theta = {0: np.ones(3, np.float32)}
    call = ForwardRequest(rows=np.array([2, 0]), theta=theta, seq=7, adapters=[0, 1], base=True).call("j")
    assert call.path == "fine_tuning/jobs/j/forward" and call.content_type == "application/octet-stream"
    assert dict(call.query) == {"seq": "7", "train": "true", "adapters": "0,1", "base": "true"}
    assert call == ForwardRequest(rows=np.array([2, 0]), theta=theta, seq=7, adapters=[0, 1], base=True).call("j")
    text = ForwardRequest(texts=["a", ("b", "c")], train=False).call("j")
    assert text.body == b'{"train": false, "adapters": "all", "base": false, "texts": ["a", ["b", "c"]]}'
    back = BackwardRequest(8, "f", {(0, 1): np.ones((2, 2), np.float32)}).call("j")
    assert dict(back.query) == {"seq": "8", "forward_id": "f"} and b"s.0.1" in back.body


def test_bytes_are_counted(fake_host: FakeHost) -> None:
    client = client_of(fake_host)
    job = make_job(client)
    before = client.traffic.up, client.traffic.down
    client.put_adapter(job, 0, np.zeros(fake_host.engine.parameters, np.float32))
    assert client.traffic.up - before[0] > 4 * fake_host.engine.parameters
    assert client.adapter(job, 0, "flat")["theta.0"].shape == (fake_host.engine.parameters,)
    assert client.traffic.down - before[1] > 4 * fake_host.engine.parameters


def test_retry_after_reads_all_forms() -> None:
    assert retry_after(Headers({"retry-after-ms": "1500"})) == 1.5
    assert retry_after(Headers({"retry-after": "2"})) == 2.0
    assert retry_after(Headers({"retry-after": "Fri, 31 Dec 1999 23:59:59 GMT"})) == 0.0
    assert retry_after(Headers({"retry-after": "soon"})) is None
    assert retry_after(Headers({})) is None


def test_a_file_goes_with_its_digest_and_a_download_is_compared_with_the_hosts() -> None:
    content = b'{"text": "a"}\n'
    digest = f"sha-256=:{base64.b64encode(hashlib.sha256(content).digest()).decode()}:"
    made = {"id": "file-1", "object": "file", "rows": 1, "status": "processed"}
    sent: list[bytes] = []
    answered = [content, content[:-1] + b" ", content]

    def host(request: httpx.Request) -> httpx.Response:
        if request.method == "POST":
            sent.append(request.read())
            return httpx.Response(200, json=made)
        return httpx.Response(200, content=answered.pop(0), headers={"Repr-Digest": f"sha-512=:YQ==:, {digest}"})

    client = Client("http://host", "key", transport=httpx.MockTransport(host))
    client.files.create(("x.jsonl", content))
    client.uploads.add_part("upload_1", content)
    assert len(sent) == 2 and all(f"Content-Digest: {digest}\r\n".encode() in body for body in sent)
    assert client.files.content("file-1") == content
    with pytest.raises(e.ApiConnectionError, match="SHA-256"):
        client.files.content("file-1")
    assert client.files.content("file-1") == content
