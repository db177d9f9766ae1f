"""Both clients against a real host: from a file to a model, step by step, and what is around it."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from blindtune import AsyncClient, Client, ForwardRequest
from blindtune import errors as e
from blindtune.arrays import F32
from blindtune.client import LiveJob

from .conftest import MODEL, RealHost

ROWS = b"".join(b'{"text": "note %d of the day"}\n' % i for i in range(6))
METHOD = {"type": "split", "split": {"adapter_sets": 2, "lora": {"rank": 2}}}


def shares(answer: Any) -> dict[tuple[int, int], F32]:
    """One share for each set: any gradient will do."""
    return {(i, 0): np.ones_like(answer.tensors[f"h.{i}"]) for i in range(2)}


def started(client: Client, **fields: Any) -> LiveJob:
    """A job on an uploaded file that has taken a step."""
    file = client.files.create(("notes.jsonl", ROWS))
    assert client.files.wait_for_processing(file.id, poll_s=0.05).rows == 6
    job = client.jobs.create(MODEL, METHOD, training_file=file.id, seed=1, **fields)
    job.backward(shares(job.forward(ForwardRequest(rows=np.array([0, 3])))))
    return job


def test_from_a_file_to_a_model(hosts: list[RealHost]) -> None:
    with hosts[0].client() as client:
        with started(client, metadata={"sdk": "sync"}) as job:
            assert job.status == "running" and job.refresh().next_seq == 3
            job.metrics(1, {"loss": 0.5})
            saved = job.checkpoint()
            assert [checkpoint.id for checkpoint in client.jobs.checkpoints.list(job.id)] == [saved.id]
            theta = job.adapter(0, "flat")["theta.0"]
            job.put_adapter(0, theta + 1)
            assert np.array_equal(job.adapter(0, "flat")["theta.0"], theta + 1)
            assert job.adapters()["parameters"] == theta.size
            job.complete()
        assert job.status == "succeeded" and job.fine_tuned_model is not None and not job.open
        assert client.models.retrieve(job.fine_tuned_model).id == job.fine_tuned_model
        assert [found.id for found in client.jobs.list(metadata={"sdk": "sync"}, limit=1)] == [job.id]
        assert {entry.kind for entry in client.jobs.ledger(job.id)} >= {"forward", "backward", "put_adapter", "metrics"}
        assert len(list(client.jobs.events(job.id, 2))) > 2, "the list turns its pages"
        client.models.delete(job.fine_tuned_model)
        with pytest.raises(e.NotFoundError):
            client.models.retrieve(job.fine_tuned_model)


def test_from_a_file_to_a_model_with_asyncio(hosts: list[RealHost]) -> None:
    async def one(client: AsyncClient, name: str) -> str:
        file = await client.files.create((f"{name}.jsonl", ROWS))
        await client.files.wait_for_processing(file.id, poll_s=0.05)
        assert await client.files.content(file.id) == ROWS
        async with client.jobs.create(MODEL, METHOD, training_file=file.id, metadata={"sdk": name}) as job:
            for _ in range(2):
                answer = await job.forward(ForwardRequest(rows=np.array([1, 2]), base=True))
                assert answer.tensors["h.base"].shape == (2, job.hidden_size)
                await job.backward(shares(answer))
            await job.metrics(2, {"loss": 0.5})
            flat = await job.adapter(1, "flat")
            await job.put_adapter(1, flat["theta.1"])
            await job.checkpoint()
            assert (await job.refresh()).next_seq == 5
            await job.complete()
        assert [found.id async for found in client.jobs.list(metadata={"sdk": name}, limit=1)] == [job.id]
        assert [entry.kind async for entry in client.jobs.ledger(job.id)].count("forward") == 2
        return str(job.fine_tuned_model)

    async def run() -> list[str]:
        async with AsyncClient(hosts[0].url, hosts[0].api_key) as client:
            names = await asyncio.gather(*(one(client, f"async-{i}") for i in range(3)))
            assert set(names) <= {model.id async for model in client.models.list()}
            return names

    assert len(set(asyncio.run(run()))) == 3


class Mistake(Exception):
    pass


def test_a_mistake_pauses_a_job_that_can_be_resumed(hosts: list[RealHost]) -> None:
    client = hosts[0].client()
    with pytest.raises(Mistake), started(client) as job:
        raise Mistake
    assert job.status == client.jobs.retrieve(job.id).status == "paused"
    job.resume()
    job.backward(shares(job.forward(ForwardRequest(rows=np.array([1])))))
    assert job.cancel().status == "cancelled"
    with pytest.raises(Mistake), client.jobs.create(MODEL, METHOD) as new:
        raise Mistake
    assert client.jobs.retrieve(new.id).status == "cancelled"


def test_steps_out_of_order_are_put_right(hosts: list[RealHost]) -> None:
    job = started(hosts[0].client())
    with pytest.raises(e.ConflictError):
        job.forward(ForwardRequest(rows=np.array([0]), seq=9))
    job.backward(shares(job.forward(ForwardRequest(rows=np.array([0])))))
    assert job.refresh().next_seq == 5
    job.cancel()


def test_host_custody_steps_with_both_clients(hosts: list[RealHost]) -> None:
    split = {"adapter_sets": 1, "custody": "host", "lora": {"rank": 2}}
    client = hosts[0].client()
    job = client.jobs.create(MODEL, {"type": "split", "split": split}, seed=1)
    h = job.forward(ForwardRequest(texts=["a", "b"])).tensors["h.0"]
    job.backward({(0, 0): np.ones_like(h)})
    assert job.optim_step(lr=1e-2)

    async def again() -> None:
        async with AsyncClient(hosts[0].url, hosts[0].api_key) as other:
            same = await other.jobs.retrieve(job.id)
            moved = (await same.forward(ForwardRequest(texts=["a", "b"]))).tensors["h.0"]
            assert not np.allclose(moved, h)
            await same.backward({(0, 0): np.ones_like(h)})
            assert await same.optim_step(lr=1e-2)
            await same.cancel()

    asyncio.run(again())


def test_events_are_streamed_until_the_job_ends(hosts: list[RealHost]) -> None:
    client = hosts[0].client()
    job = started(client)

    def finish() -> None:
        job.metrics(1, {"loss": 0.25})
        job.checkpoint()
        job.complete()

    later = threading.Timer(0.5, finish)
    later.start()
    events = list(client.jobs.stream_events(job.id))
    later.join()
    assert [event.id for event in events] == [event.id for event in client.jobs.events(job.id, order="asc")]
    data = [event.data for event in events if isinstance(event.data, dict)]
    assert {"status": "succeeded"} in data and any(part.get("loss") == 0.25 for part in data)
    assert [event.id for event in client.jobs.stream_events(job.id, after=events[1].id)] == [e.id for e in events[2:]]

    async def stream() -> list[str]:
        async with AsyncClient(hosts[0].url, hosts[0].api_key) as other:
            return [event.id async for event in other.jobs.stream_events(job.id)]

    assert asyncio.run(stream()) == [event.id for event in events]
    assert job.progress(ascii=True).status == "succeeded"


def test_a_stream_survives_the_death_of_the_host(own_host: RealHost) -> None:
    client = own_host.client()
    job = started(client)
    seen, first = [], threading.Event()

    def follow() -> None:
        for event in client.jobs.stream_events(job.id):
            seen.append(event.id)
            first.set()

    thread = threading.Thread(target=follow)
    thread.start()
    assert first.wait(10)
    own_host.kill()
    own_host.start()
    job.cancel()
    thread.join(30)
    assert not thread.is_alive()
    assert seen == [event.id for event in client.jobs.events(job.id, order="asc")], "each once, in order"


def test_large_files_go_in_parts(hosts: list[RealHost], tmp_path: Path) -> None:
    client = hosts[0].client()
    (tmp_path / "notes.jsonl").write_bytes(ROWS)
    done = client.uploads.upload_file_chunked(tmp_path / "notes.jsonl", part_bytes=50)
    assert done.status == "completed" and done.file is not None and done.file.rows == 6
    assert client.files.content(done.file.id) == ROWS
    with pytest.raises(e.ApiError):
        client.uploads.upload_file_chunked(("notes.jsonl", b'{"text": "a", "label": 1}\n'), part_bytes=10)

    async def again() -> int | None:
        async with AsyncClient(hosts[0].url, hosts[0].api_key) as other:
            upload = await other.uploads.upload_file_chunked(("notes.jsonl", ROWS), part_bytes=100)
            assert upload.file is not None
            return upload.file.rows

    assert asyncio.run(again()) == 6
    kept = client.files.create(("notes.jsonl", ROWS), expires_after_s=3600)
    assert kept.expires_at == kept.created_at + 3600


def test_checkpoints_and_adapters_as_peft_folders(hosts: list[RealHost], tmp_path: Path) -> None:
    client = hosts[0].client()
    with started(client) as job:
        saved = job.checkpoint(expires_after_s=7200)
        checkpoints = client.jobs.checkpoints
        assert checkpoints.retrieve(job.id, saved.id).expires_at == saved.created_at + 7200
        assert checkpoints.update(job.id, saved.id, expires_after_s=None).expires_at is None
        folders = checkpoints.download(job.id, saved.id, tmp_path / "checkpoint")
        assert [folder.name for folder in folders] == ["set_0", "set_1"]
        assert checkpoints.download(job.id, saved.id, tmp_path / "one", adapter_set=1) == (tmp_path / "one",)
        one, whole = (tmp_path / "one", tmp_path / "checkpoint" / "set_1")
        name = "adapter_model.safetensors"
        assert (one / name).read_bytes() == (whole / name).read_bytes()
        further = client.jobs.create(saved.fine_tuned_model_checkpoint, training_file=job.training_file)
        assert further.origin == saved.fine_tuned_model_checkpoint
        further.cancel()
        with pytest.raises(e.ConflictError, match="checkpoint_in_use"):
            checkpoints.delete(job.id, saved.id)
        job.backward(shares(job.forward(ForwardRequest(rows=np.array([5])))))
        job.checkpoint()
        checkpoints.delete(job.id, saved.id)
        with pytest.raises(e.NotFoundError):
            checkpoints.retrieve(job.id, saved.id)
        job.complete()
    assert job.fine_tuned_model is not None
    client.models.download_adapter(job.fine_tuned_model, tmp_path / "model")
    back = client.models.upload_adapter(MODEL, tmp_path / "model", suffix="back")
    assert back.base_model == MODEL and back.adapter_sets == 2
