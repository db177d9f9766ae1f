"""The stock `openai` package, unchanged, against the real host."""

from __future__ import annotations

import asyncio
import hashlib
import io

import openai
import pytest
from openai import AsyncOpenAI, OpenAI

from .conftest import MODEL, RealHost

ROWS = b'{"text": "all is well"}\n{"text": "it hurts"}\n'
SPLIT = {"type": "split", "split": {"adapter_sets": 1}}


@pytest.fixture
def client(hosts: list[RealHost]) -> OpenAI:
    return OpenAI(base_url=f"{hosts[0].url}/v1", api_key=hosts[0].make_key("--project", "openai"))


def test_files_come_back_as_they_went(client: OpenAI) -> None:
    made = client.files.create(file=("notes.jsonl", io.BytesIO(ROWS)), purpose="fine-tune")
    assert client.files.wait_for_processing(made.id).status == "processed"
    assert client.files.retrieve(made.id).bytes == len(ROWS)
    assert client.files.content(made.id).read() == ROWS
    assert made.id in [file.id for file in client.files.list(limit=1)], "paging ends and finds it"
    assert client.files.delete(made.id).deleted
    with pytest.raises(openai.NotFoundError):
        client.files.retrieve(made.id)


def test_a_file_with_labels_is_refused_with_its_line(client: OpenAI) -> None:
    body = ROWS + b'{"text": "c", "label": 1}\n'
    with pytest.raises(openai.BadRequestError) as refused:
        client.files.create(file=("notes.jsonl", io.BytesIO(body)), purpose="fine-tune")
    assert (refused.value.code, refused.value.param) == ("label_present", "line 3: label")
    assert refused.value.request_id


def test_a_large_file_comes_in_parts(client: OpenAI) -> None:
    content = b"".join(b'{"text": "row %d"}\n' % i for i in range(500))
    done = client.uploads.upload_file_chunked(
        file=content,
        filename="notes.jsonl",
        bytes=len(content),
        mime_type="application/jsonl",
        purpose="fine-tune",
        part_size=1000,
        md5=hashlib.md5(content, usedforsecurity=False).hexdigest(),
    )
    assert done.status == "completed" and done.file is not None
    assert client.files.content(done.file.id).read() == content
    client.files.delete(done.file.id)


def test_a_job_goes_on_from_the_model_of_another_and_leaves_its_metrics(client: OpenAI) -> None:
    jobs = client.fine_tuning.jobs
    first = jobs.create(model=MODEL, training_file=client.files.create(file=("a.jsonl", ROWS), purpose="fine-tune").id)
    client.post(f"/fine_tuning/jobs/{first.id}/metrics", body={"step": 1, "metrics": {"loss": 0.5}}, cast_to=object)
    saved = client.post(f"/fine_tuning/jobs/{first.id}/checkpoints", cast_to=object)
    assert isinstance(saved, dict)
    assert [checkpoint.id for checkpoint in jobs.checkpoints.list(first.id)] == [saved["id"]]
    client.post(f"/fine_tuning/jobs/{first.id}/complete", cast_to=object)
    done = jobs.retrieve(first.id)
    assert client.files.content(done.result_files[0]).text == "step,loss\n1,0.5\n"
    assert done.fine_tuned_model
    for name in (done.fine_tuned_model, saved["fine_tuned_model_checkpoint"]):
        following = jobs.create(model=name, training_file=done.training_file, hyperparameters={"n_epochs": 2})
        assert (following.model_extra or {})["origin"] == name
        assert following.hyperparameters.n_epochs == 2
        jobs.cancel(following.id)
    client.models.delete(done.fine_tuned_model)


def test_models_are_listed_and_found(client: OpenAI) -> None:
    assert MODEL in [model.id for model in client.models.list()]
    assert client.models.retrieve(MODEL).object == "model"
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("nobody/nothing")
    with pytest.raises(openai.PermissionDeniedError):
        client.models.delete(MODEL)


def test_a_job_lives_as_users_of_that_api_know_it(client: OpenAI) -> None:
    file = client.files.create(file=("notes.jsonl", io.BytesIO(ROWS)), purpose="fine-tune")
    jobs = client.fine_tuning.jobs
    made = jobs.create(
        model=MODEL,
        training_file=file.id,
        seed=3,
        suffix="mine",
        metadata={"team": "a b"},
        extra_body={"method": SPLIT},
    )
    assert (made.status, made.seed, made.training_file) == ("running", 3, file.id)
    assert (made.model_extra or {})["split"]["next_seq"] == 1
    other = jobs.create(model=MODEL, training_file=file.id)
    assert [job.id for job in jobs.list(limit=1)][:2] == [other.id, made.id], "newest first, page by page"
    assert [job.id for job in jobs.list(limit=1, metadata={"team": "a b"})] == [made.id]
    assert jobs.pause(made.id).status == "paused"
    assert jobs.resume(made.id).status == "running"
    assert jobs.cancel(made.id).status == "cancelled"
    with pytest.raises(openai.ConflictError) as refused:
        jobs.cancel(made.id)
    assert refused.value.code == "invalid_job_state"
    events = [event.message for event in jobs.list_events(made.id, limit=1)]
    assert events[0] == "Fine-tuning job is cancelled" and events[-1].startswith("Created fine-tuning job")
    assert list(jobs.checkpoints.list(other.id)) == []
    jobs.cancel(other.id)


def test_what_needs_labels_is_refused_by_name(client: OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        client.fine_tuning.jobs.create(
            model=MODEL, training_file="file-" + "0" * 32, method={"type": "supervised", "supervised": {}}
        )
    assert refused.value.param == "method.supervised" or refused.value.param == "method.type"


def test_a_wrong_key_is_an_authentication_error(hosts: list[RealHost]) -> None:
    with pytest.raises(openai.AuthenticationError) as refused:
        OpenAI(base_url=f"{hosts[0].url}/v1", api_key="sk-nonsense").models.list()
    assert refused.value.code == "invalid_api_key"


def test_the_async_client_works_too(hosts: list[RealHost]) -> None:
    async def use() -> list[str]:
        async with AsyncOpenAI(base_url=f"{hosts[0].url}/v1", api_key=hosts[0].api_key) as client:
            file = await client.files.create(file=("notes.jsonl", ROWS), purpose="fine-tune")
            job = await client.fine_tuning.jobs.create(model=MODEL, training_file=file.id)
            await client.fine_tuning.jobs.cancel(job.id)
            return [event.message async for event in client.fine_tuning.jobs.list_events(job.id, limit=1)]

    assert asyncio.run(use())[0] == "Fine-tuning job is cancelled"
