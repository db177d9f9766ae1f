"""The calls of a script that fine-tunes a classifier at OpenAI, against `blindtune gateway` and a real host.

One test a call, for both clients; each docstring is its row in the table that run.py prints. Most share one job
for each kind of client. Cancelling amid the training is a race here:
sdk/python/tests/test_gateway.py shows it.
"""

from __future__ import annotations

import asyncio
import csv
import io
import json
import math
import random
from typing import Any

import openai
import pytest
from desk import Desk, items
from openai.types import Batch
from openai.types.chat import ChatCompletion
from openai.types.fine_tuning import FineTuningJob
from tiny_host import MODEL

BASE = "gpt-4o-mini-2024-07-18"
LABELS = ("calm", "worse")
TRAINED: dict[str, FineTuningJob] = {}
EPOCHS = 16
METHOD = {"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": EPOCHS, "batch_size": 16}}}
SYSTEM = {"role": "system", "content": "Is the patient calm or worse?"}


def note(label: str, dice: random.Random) -> str:
    """Words of the tiny backbone: five that each label has, and five that either has."""
    own = range(5, 15) if label == LABELS[0] else range(15, 25)
    words = [*dice.sample(own, 5), *dice.sample(range(30, 59), 5)]
    return " ".join(f"w{word}" for word in dice.sample(words, len(words)))


def notes(count: int, seed: int = 0) -> list[tuple[str, str]]:
    dice = random.Random(seed)
    return [(note(LABELS[row % 2], dice), LABELS[row % 2]) for row in range(count)]


def chats(count: int, seed: int = 0) -> bytes:
    lines = []
    for text, label in notes(count, seed):
        said = [SYSTEM, {"role": "user", "content": text}, {"role": "assistant", "content": label}]
        lines.append(json.dumps({"messages": said}) + "\n")
    return "".join(lines).encode()


async def upload(house: Desk, content: bytes, purpose: str = "fine-tune") -> str:
    made = await house.client.files.create(file=("notes.jsonl", io.BytesIO(content)), purpose=purpose)
    return str(made.id)


async def job_over(house: Desk, job: str) -> FineTuningJob:
    """As every script waits: nobody here drives the training."""
    while (found := await house.client.fine_tuning.jobs.retrieve(job)).status in ("queued", "running"):
        await asyncio.sleep(0.1)
    assert isinstance(found, FineTuningJob)
    return found


async def trained(house: Desk) -> FineTuningJob:
    """The job that the tests of one kind of client share."""
    if house.kind not in TRAINED:
        made = await house.client.fine_tuning.jobs.create(
            model=BASE,
            training_file=await upload(house, chats(60)),
            validation_file=await upload(house, chats(40, 1)),
            method=METHOD,
            suffix=house.kind,
            seed=7,
        )
        TRAINED[house.kind] = await job_over(house, made.id)
    assert TRAINED[house.kind].status == "succeeded", TRAINED[house.kind]
    return TRAINED[house.kind]


async def model_of(house: Desk) -> str:
    return str((await trained(house)).fine_tuned_model)


async def ask(house: Desk, text: str, **more: Any) -> Any:
    messages = [SYSTEM, {"role": "user", "content": text}]
    return await house.client.chat.completions.create(model=await model_of(house), messages=messages, **more)


async def test_gateway_files(house: Desk) -> None:
    """gateway: files.create with labels, retrieve, content, list, delete"""
    content = chats(20)
    made = await house.client.files.create(file=("notes.jsonl", io.BytesIO(content)), purpose="fine-tune")
    assert (made.object, made.purpose, made.bytes, made.status) == ("file", "fine-tune", len(content), "processed")
    assert (await house.client.files.retrieve(made.id)).filename == "notes.jsonl"
    assert (await house.client.files.content(made.id)).read() == content
    assert made.id in [file.id for file in await items(house.client.files.list(purpose="fine-tune", limit=2))]
    assert (await house.client.files.delete(made.id)).deleted
    with pytest.raises(openai.NotFoundError):
        await house.client.files.retrieve(made.id)


async def test_gateway_refuses_free_answers(house: Desk) -> None:
    """gateway: files.create refuses what is no classification"""
    rows = [{"prompt": f"w{row}", "completion": f"an essay about number {row}"} for row in range(5, 25)]
    with pytest.raises(openai.BadRequestError, match="20 different answers") as refused:
        await upload(house, "\n".join(map(json.dumps, rows)).encode())
    assert (refused.value.code, refused.value.param) == ("invalid_file", "file")


async def test_gateway_job(house: Desk) -> None:
    """gateway: jobs.create(method=supervised, validation_file, suffix, seed), retrieve: succeeded"""
    job = await trained(house)
    assert (job.status, job.error, job.seed, job.object) == ("succeeded", None, 7, "fine_tuning.job")
    assert job.fine_tuned_model is not None and job.fine_tuned_model.startswith(f"ft:{BASE}:gateway:{house.kind}:")
    assert job.finished_at is not None and job.finished_at >= job.created_at
    assert job.method is not None and job.method.supervised is not None
    assert job.hyperparameters.n_epochs == EPOCHS


async def test_gateway_list_jobs(house: Desk) -> None:
    """gateway: jobs.list, paging"""
    job = await trained(house)
    found = await items(house.client.fine_tuning.jobs.list(limit=2))
    assert job.id in [one.id for one in found] and len({one.id for one in found}) == len(found)


async def test_gateway_events(house: Desk) -> None:
    """gateway: jobs.list_events, paging: epochs, scores, protection"""
    job = await trained(house)
    events = (await items(house.client.fine_tuning.jobs.list_events(job.id, limit=5)))[::-1]
    said = [event.message for event in events]
    assert said[0] == f"Created fine-tuning job: {job.id}" and said[-1] == "The job has successfully completed"
    assert any("Protection of the labels: blind" in message for message in said)
    steps = [event for event in events if event.type == "metrics" and event.message.startswith("Step ")]
    assert len(steps) >= 6 and steps[0].data["train_loss"] > steps[5].data["train_loss"]


async def test_gateway_checkpoints(house: Desk) -> None:
    """gateway: jobs.checkpoints.list: none"""
    assert await items(house.client.fine_tuning.jobs.checkpoints.list((await trained(house)).id)) == []


async def test_gateway_result_file(house: Desk) -> None:
    """gateway: files.content(result_files[0]), CSV"""
    name = (await trained(house)).result_files[0]
    assert (await house.client.files.retrieve(name)).purpose == "fine-tune-results"
    table = list(csv.DictReader(io.StringIO((await house.client.files.content(name)).read().decode())))
    last = [row for row in table if row["train_accuracy"]][-1]
    assert float(last["train_accuracy"]) >= 0.9 and float(last["valid_mean_token_accuracy"]) >= 0.75
    assert all(int(row["step"]) for row in table)


async def test_gateway_cancel(house: Desk) -> None:
    """gateway: jobs.cancel of one that is over (409)"""
    with pytest.raises(openai.ConflictError, match="succeeded already") as refused:
        await house.client.fine_tuning.jobs.cancel((await trained(house)).id)
    assert refused.value.code == "job_is_over"


async def test_gateway_failed_job(house: Desk) -> None:
    """gateway: a job that fails says why"""
    rows = [{"text": " ".join([text] * 9), "label": label} for text, label in notes(12)]  # of 40 tokens the model takes
    file = await upload(house, "\n".join(map(json.dumps, rows)).encode())
    job = await job_over(house, (await house.client.fine_tuning.jobs.create(model=BASE, training_file=file)).id)
    assert job.status == "failed" and job.error is not None and job.fine_tuned_model is None
    assert job.error.code == "training_failed" and "40" in job.error.message


async def test_gateway_models(house: Desk) -> None:
    """gateway: models.list, retrieve"""
    name = await model_of(house)
    assert {MODEL, name} <= {model.id for model in await items(house.client.models.list())}
    assert (await house.client.models.retrieve(name)).id == name


async def test_gateway_delete_model(house: Desk) -> None:
    """gateway: models.delete(ft:...)"""
    file = await upload(house, chats(20))
    made = await house.client.fine_tuning.jobs.create(model=BASE, training_file=file, hyperparameters={"n_epochs": 1})
    name = (await job_over(house, made.id)).fine_tuned_model
    assert (await house.client.models.delete(name)).deleted
    with pytest.raises(openai.NotFoundError):
        await house.client.models.retrieve(name)
    with pytest.raises(openai.NotFoundError) as refused:
        await house.client.chat.completions.create(model=name, messages=[{"role": "user", "content": "w5"}])
    assert refused.value.code == "model_not_found"


async def test_gateway_chat(house: Desk) -> None:
    """gateway: chat.completions.create(max_tokens, temperature): the label"""
    fresh, right = notes(40, 2), 0
    for text, label in fresh:
        answer = await ask(house, text, max_tokens=1, temperature=0)
        assert isinstance(answer, ChatCompletion) and answer.choices[0].finish_reason == "stop"
        right += answer.choices[0].message.content == label
    assert right >= 33, "guessing is right in 20, with a deviation of 3.2"


async def test_gateway_chat_probabilities(house: Desk) -> None:
    """gateway: chat.completions.create(logprobs, top_logprobs)"""
    answer = await ask(house, notes(1, 2)[0][0], logprobs=True, top_logprobs=5)
    (token,) = answer.choices[0].logprobs.content
    found = {one.token: one.logprob for one in token.top_logprobs}
    assert set(found) == set(LABELS) and token.token == answer.choices[0].message.content == max(found, key=found.get)
    assert sum(map(math.exp, found.values())) == pytest.approx(1.0, abs=1e-4)


async def test_gateway_chat_stream(house: Desk) -> None:
    """gateway: chat.completions.create(stream)"""
    text = notes(1, 2)[0][0]
    parts = await items(await ask(house, text, stream=True))
    said = "".join(part.choices[0].delta.content or "" for part in parts)
    assert said == (await ask(house, text)).choices[0].message.content
    assert parts[-1].choices[0].finish_reason == "stop"


async def test_gateway_completions(house: Desk) -> None:
    """gateway: completions.create of many prompts, logprobs: labels and probabilities in one call"""
    texts, name = [text for text, _ in notes(40, 2)], await model_of(house)
    said = await house.client.completions.create(model=name, prompt=texts, max_tokens=1, temperature=0, logprobs=2)
    assert [choice.index for choice in said.choices] == list(range(40))
    assert said.choices[0].text == (await ask(house, texts[0])).choices[0].message.content
    for choice in said.choices:
        (top,) = choice.logprobs.top_logprobs
        assert set(top) == set(LABELS) and choice.text == max(top, key=top.get)


def request(number: int, model: str, **fields: Any) -> bytes:
    """A line of a batch."""
    body = {"model": model, "messages": [{"role": "user", "content": notes(number + 1, 2)[number][0]}], **fields}
    line = {"custom_id": f"r{number}", "method": "POST", "url": "/v1/chat/completions", "body": body}
    return json.dumps(line).encode() + b"\n"


async def make_batch(house: Desk, lines: bytes) -> Batch:
    made = await house.client.batches.create(
        input_file_id=await upload(house, lines, "batch"),
        endpoint="/v1/chat/completions",
        completion_window="24h",
        metadata={"team": "a"},
    )
    assert isinstance(made, Batch)
    return made


async def batch_over(house: Desk, batch: str) -> Batch:
    while (found := await house.client.batches.retrieve(batch)).status not in ("completed", "failed", "cancelled"):
        await asyncio.sleep(0.05)
    assert isinstance(found, Batch)
    return found


async def test_gateway_batch(house: Desk) -> None:
    """gateway: batches.create(/v1/chat/completions), retrieve, list; output and error file"""
    name = await model_of(house)
    lines = [request(0, name, logprobs=True, top_logprobs=2), request(1, name), request(2, "ft:none")]
    made = await make_batch(house, b"".join(lines))
    assert (made.object, made.endpoint, made.metadata) == ("batch", "/v1/chat/completions", {"team": "a"})
    done = await batch_over(house, made.id)
    assert (done.status, done.errors) == ("completed", None) and done.completed_at is not None
    counts = done.request_counts
    assert counts is not None and (counts.total, counts.completed, counts.failed) == (3, 2, 1)
    output = (await house.client.files.content(done.output_file_id)).read().decode().splitlines()
    for number, line in enumerate(map(json.loads, output)):
        assert (line["custom_id"], line["response"]["status_code"], line["error"]) == (f"r{number}", 200, None)
        answer = ChatCompletion.model_validate(line["response"]["body"])
        live = await ask(house, notes(number + 1, 2)[number][0])
        assert answer.choices[0].message.content == live.choices[0].message.content
    (line,) = map(json.loads, (await house.client.files.content(done.error_file_id)).read().decode().splitlines())
    assert (line["custom_id"], line["response"]["status_code"]) == ("r2", 404)
    assert line["response"]["body"]["error"]["code"] == "model_not_found"
    assert made.id in [batch.id for batch in await items(house.client.batches.list(limit=2))]


async def test_gateway_batch_with_bad_lines(house: Desk) -> None:
    """gateway: batches.retrieve: errors by line; another endpoint is refused"""
    done = await batch_over(house, (await make_batch(house, request(0, "ft:none") * 2)).id)
    assert done.status == "failed" and done.errors is not None and done.errors.data is not None
    assert [(error.line, error.code) for error in done.errors.data] == [(2, "duplicate_custom_id")]
    with pytest.raises(openai.BadRequestError) as refused:
        await house.client.batches.create(
            input_file_id=done.input_file_id, endpoint="/v1/embeddings", completion_window="24h"
        )
    assert refused.value.param == "endpoint"


async def test_gateway_cancel_batch(house: Desk) -> None:
    """gateway: batches.cancel of one that is over (409)"""
    done = await batch_over(house, (await make_batch(house, request(0, await model_of(house)))).id)
    with pytest.raises(openai.ConflictError, match="completed already") as refused:
        await house.client.batches.cancel(done.id)
    assert refused.value.code == "batch_is_over"


async def test_gateway_refusals(house: Desk) -> None:
    """gateway: 400, 401, 404 in OpenAI's envelope; what is not here names what is"""
    jobs = house.client.fine_tuning.jobs
    with pytest.raises(openai.BadRequestError) as wrong:
        await jobs.create(model=BASE, training_file=await upload(house, chats(20)), method={"type": "dpo"})
    assert (wrong.value.param, wrong.value.type) == ("method.type", "invalid_request_error")
    with pytest.raises(openai.NotFoundError) as absent:
        await jobs.create(model=BASE, training_file="file-none")
    assert absent.value.code == "file_not_found"
    with pytest.raises(openai.AuthenticationError) as stranger:
        await house.another(api_key="another").files.list()
    assert stranger.value.code == "invalid_api_key"
    with pytest.raises(openai.BadRequestError, match="n: a classifier has one answer"):
        await ask(house, "w5", n=2)
    with pytest.raises(openai.NotFoundError, match="completions as `prompt`"):
        await house.client.moderations.create(model=await model_of(house), input=["w5"])
    with pytest.raises(openai.NotFoundError, match="it has files"):
        await house.client.embeddings.create(model=MODEL, input="w5")
