"""The handle of a job: its `with` block, its step numbers, and following the host."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import httpx
import numpy as np
import pytest
from wire import QUICK, Wire, of_job

from blindtune import ApiConnectionError, Client, ForwardRequest
from blindtune import errors as e
from blindtune.arrays import encode


class JobHost:
    """Answers as a job that is `status`, and says in `asked` what became of it."""

    def __init__(self, next_seq: int = 1, refuses: str = "") -> None:
        self.next_seq, self.refuses = next_seq, refuses
        self.asked: list[str] = []
        self.queries: list[dict[str, str]] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        word = request.url.path.rpartition("/")[2]
        self.asked.append(word)
        self.queries.append(dict(request.url.params))
        if word == self.refuses:
            error = {"message": "no", "code": "step_out_of_order", "expected_seq": 7}
            return httpx.Response(409, json={"error": error})
        if word in ("forward", "backward"):
            body = encode({"h.0": np.zeros((1, 4), np.float32)}, {"forward_id": "fwd-5"} if word == "forward" else None)
            return httpx.Response(200, content=body)
        if word == "optim_step":
            return httpx.Response(200, json={"step": 1})
        status = {"pause": "paused", "cancel": "cancelled", "complete": "succeeded"}.get(word, "running")
        return httpx.Response(200, json=of_job(status, self.next_seq))


class Mistake(Exception):
    pass


def leave(host: JobHost, twin: str, *, complete: bool = False, error: BaseException | None = None) -> str:
    """The job's status after a `with` block that ends like this."""
    if twin == "sync":
        client = Wire(host).client()
        try:
            with client.jobs.create("m", seed=1) as job:
                if complete:
                    job.complete()
                if error:
                    raise error
        except type(error or Mistake()):
            pass
        return job.status

    async def run() -> str:
        async with Wire(host).async_client() as client:
            try:
                async with client.jobs.create("m", seed=1) as job:
                    if complete:
                        await job.complete()
                    if error:
                        raise error
            except type(error or Mistake()):
                pass
            return job.status

    return asyncio.run(run())


@pytest.mark.parametrize("twin", ["sync", "async"])
def test_an_error_pauses_what_has_learnt_and_cancels_what_has_not(twin: str) -> None:
    host = JobHost(next_seq=5)
    assert leave(host, twin, error=Mistake()) == "paused" and host.asked == ["jobs", "pause"]
    host = JobHost(next_seq=1)
    assert leave(host, twin, error=Mistake()) == "cancelled" and host.asked == ["jobs", "cancel"]


@pytest.mark.parametrize("twin", ["sync", "async"])
def test_other_ends_of_a_block_leave_the_job_as_it_is(twin: str) -> None:
    host = JobHost(next_seq=5)
    assert leave(host, twin) == "running" and host.asked == ["jobs"]
    host = JobHost(next_seq=5)
    assert leave(host, twin, complete=True) == "succeeded" and host.asked == ["jobs", "complete"]
    host = JobHost(next_seq=5)
    assert leave(host, twin, complete=True, error=Mistake()) == "succeeded" and host.asked == ["jobs", "complete"]
    host = JobHost(next_seq=5)
    lost = ApiConnectionError("the host is away")
    assert leave(host, twin, error=lost) == "running" and host.asked == ["jobs"], "it would only be waited for again"


@pytest.mark.parametrize("twin", ["sync", "async"])
def test_the_error_is_not_hidden_by_another(twin: str, caplog: pytest.LogCaptureFixture) -> None:
    host = JobHost(next_seq=5, refuses="pause")
    with caplog.at_level(logging.WARNING, "blindtune"):
        assert leave(host, twin, error=Mistake()) == "running" and host.asked == ["jobs", "pause"]
    assert "ftjob-1 is left as it is" in caplog.text


def test_keyboard_interrupts_count_as_errors() -> None:
    host = JobHost(next_seq=5)
    assert leave(host, "sync", error=KeyboardInterrupt()) == "paused"


SHARES = {(0, 0): np.ones((1, 4), np.float32)}


def test_steps_are_numbered() -> None:
    host = JobHost(next_seq=3)
    job = Wire(host).client().jobs.retrieve("ftjob-1")
    job.forward(ForwardRequest(rows=np.array([0])))
    job.forward(ForwardRequest(rows=np.array([0]), train=False))
    job.backward(SHARES)
    job.forward(ForwardRequest(rows=np.array([0])))
    numbers = [query.get("seq") for query in host.queries[1:]]
    assert numbers == ["3", None, "4", "5"] and host.queries[3]["forward_id"] == "fwd-5"
    assert job.refresh().status == "running"
    assert job.optim_step(lr=0.1) == {"step": 1}
    job.forward(ForwardRequest(rows=np.array([0])))
    assert host.queries[-1]["seq"] == "7", "an older count of the host's does not take the number back"


def test_steps_are_numbered_with_asyncio() -> None:
    async def run(host: JobHost) -> None:
        async with Wire(host).async_client() as client:
            job = await client.jobs.retrieve("ftjob-1")
            await job.forward(ForwardRequest(rows=np.array([0])))
            await job.backward(SHARES)
            assert await job.optim_step(lr=0.1) == {"step": 1}
            answer = await client.forward("ftjob-1", ForwardRequest(rows=np.array([0]), seq=9))
            assert answer.tensors["h.0"].shape == (1, 4) and answer.metadata == {"forward_id": "fwd-5"}

    host = JobHost(next_seq=3)
    asyncio.run(run(host))
    assert [query.get("seq") for query in host.queries] == [None, "3", "4", None, "9"]


def test_the_count_of_the_host_is_adopted() -> None:
    host = JobHost(refuses="forward")
    job = Wire(host).client().jobs.retrieve("ftjob-1")
    with pytest.raises(e.ConflictError):
        job.forward(ForwardRequest(rows=np.array([0])))
    host.refuses = ""
    job.forward(ForwardRequest(rows=np.array([0])))
    assert host.queries[-1]["seq"] == "7"


def test_a_handle_is_still_the_data_of_its_job() -> None:
    job = Wire(JobHost()).client().jobs.retrieve("ftjob-1")
    assert (job.open, job.hidden_size, job.next_seq) == (True, 4, 1)
    assert repr(job) == "LiveJob(id='ftjob-1', status='running', model='m')"
    with pytest.raises(AttributeError):
        job.status = "succeeded"  # type: ignore[misc]
    assert job.cancel() is job and job.status == "cancelled" and not job.open


def test_listed_jobs_are_handles_and_filtered_by_the_host() -> None:
    queries: list[httpx.QueryParams] = []

    def host(request: httpx.Request) -> httpx.Response:
        queries.append(request.url.params)
        return httpx.Response(200, json={"object": "list", "data": [of_job()], "has_more": False})

    client: Any = Wire(host).client()
    assert [job.status for job in client.jobs.list(limit=5, metadata={"team": "a b", "x": "1"})] == ["running"]
    assert dict(queries[0]) == {"limit": "5", "metadata[team]": "a b", "metadata[x]": "1"}
    list(client.jobs.list(status="paused", model="m", created_from=1, created_before=9, order="asc"))
    wanted = {"status": "paused", "model": "m", "created_from": "1", "created_before": "9", "order": "asc"}
    assert dict(queries[1]) == wanted


def test_clients_close_with_their_block() -> None:
    with Client("http://h", transport=httpx.MockTransport(JobHost()), retry=QUICK) as client:
        client.jobs.retrieve("x")
    with pytest.raises(RuntimeError, match="closed"):
        client.jobs.retrieve("x")
