"""The calls of the stock `openai` package, unchanged, against the real host: one test a call, for both clients.

Each docstring is the call's row in the table that run.py prints.
"""

from __future__ import annotations

import asyncio
import base64
import csv
import hashlib
import io
import json
import struct

import openai
import pytest
from bare_client import HOSTED, ROWS, SPLIT, BareClient
from desk import Desk, items
from openai.types import Batch, CreateEmbeddingResponse, FileObject
from openai.types.fine_tuning import FineTuningJobEvent
from shared_host import let_pass
from tiny_host import MODEL, SLASHED, WIDTH, TinyHost


async def upload(desk: Desk) -> FileObject:
    return await desk.client.files.create(file=("notes.jsonl", io.BytesIO(ROWS)), purpose="fine-tune")


async def ids(pages: object) -> list[str]:
    return [item.id for item in await items(pages)]


async def make_job(desk: Desk, **fields: object) -> str:
    job = await desk.client.fine_tuning.jobs.create(
        model=MODEL, training_file=(await upload(desk)).id, extra_body={"method": SPLIT}, **fields
    )
    return str(job.id)


async def make_hosted_job(desk: Desk) -> str:
    file = await upload(desk)
    return str((await desk.client.fine_tuning.jobs.create(model=MODEL, training_file=file.id, method=HOSTED)).id)


async def test_create_file(desk: Desk) -> None:
    """files.create, retrieve"""
    made = await upload(desk)
    assert (made.object, made.purpose, made.bytes) == ("file", "fine-tune", len(ROWS))
    assert (await desk.client.files.retrieve(made.id)).filename == "notes.jsonl"


async def test_create_file_that_expires(desk: Desk) -> None:
    """files.create(expires_after)"""
    expiry = {"anchor": "created_at", "seconds": 3600}
    made = await desk.client.files.create(
        file=("notes.jsonl", ROWS), purpose="fine-tune", extra_body={"expires_after": expiry}
    )
    assert made.expires_at == made.created_at + 3600


async def test_create_file_with_a_checksum(desk: Desk) -> None:
    """files.create with a SHA-256 (extra_headers, or headers of the file)"""
    right, wrong = (base64.b64encode(hashlib.sha256(content).digest()).decode() for content in (ROWS, b"other"))
    for checksum in (right, wrong):
        ways = [
            {"file": ("notes.jsonl", ROWS), "extra_headers": {"x-amz-checksum-sha256": checksum}},
            {"file": ("notes.jsonl", ROWS, "application/jsonl", {"Content-Digest": f"sha-256=:{checksum}:"})},
        ]
        for way in ways:
            if checksum == right:
                made = await desk.client.files.create(purpose="fine-tune", **way)
                answer = await desk.client.files.with_raw_response.content(made.id)
                assert answer.headers["repr-digest"] == f"sha-256=:{right}:"
                continue
            with pytest.raises(openai.BadRequestError) as refused:
                await desk.client.files.create(purpose="fine-tune", **way)
            assert refused.value.code == "checksum_mismatch"


async def test_file_expires(desk: Desk, host: TinyHost) -> None:
    """files that expired are not found, nor listed"""
    expiry = {"anchor": "created_at", "seconds": 3600}
    made = await desk.client.files.create(
        file=("notes.jsonl", ROWS), purpose="fine-tune", extra_body={"expires_after": expiry}
    )
    assert made.id in [file.id for file in await items(desk.client.files.list())]
    let_pass(host, "files", made.id.removeprefix("file-"), 3601)
    for call in (desk.client.files.retrieve, desk.client.files.content):
        with pytest.raises(openai.NotFoundError):
            await call(made.id)
    assert made.id not in [file.id for file in await items(desk.client.files.list())]
    with pytest.raises(openai.NotFoundError) as refused:
        await desk.client.fine_tuning.jobs.create(model=MODEL, training_file=made.id)
    assert refused.value.param == "training_file"


async def test_values_that_read_like_labels(desk: Desk) -> None:
    """files.create refuses few short second texts, until extra_body says inputs_only"""
    rows = "".join(f'{{"text": "w{row}", "text_pair": "{row % 2}"}}\n' for row in range(60)).encode()
    with pytest.raises(openai.BadRequestError) as refused:
        await desk.client.files.create(file=("pairs.jsonl", rows), purpose="fine-tune")
    assert (refused.value.code, refused.value.param) == ("label_present", "line 1: text_pair")
    made = await desk.client.files.create(
        file=("pairs.jsonl", rows), purpose="fine-tune", extra_body={"inputs_only": True}
    )
    assert made.bytes == len(rows)


async def test_labels_are_refused(desk: Desk) -> None:
    """files.create refuses labels by line"""
    body, kept = ROWS + b'{"text": "c", "label": 1}\n', await ids(desk.client.files.list())
    with pytest.raises(openai.BadRequestError) as refused:
        await desk.client.files.create(file=("notes.jsonl", body), purpose="fine-tune")
    assert (refused.value.code, refused.value.param) == ("label_present", "line 4: label")
    assert await ids(desk.client.files.list()) == kept


async def test_wait_for_processing(desk: Desk) -> None:
    """files.wait_for_processing"""
    assert (await desk.client.files.wait_for_processing((await upload(desk)).id)).status == "processed"


@pytest.mark.own_project
async def test_list_files(desk: Desk) -> None:
    """files.list, paging"""
    made = [(await upload(desk)).id for _ in range(3)]
    assert [file.id for file in await items(desk.client.files.list(limit=1))] == made[::-1]
    assert [file.id for file in await items(desk.client.files.list(limit=2, order="asc"))] == made
    assert await items(desk.client.files.list(purpose="assistants")) == []


async def test_file_content(desk: Desk) -> None:
    """files.content"""
    made = await upload(desk)
    assert (await desk.client.files.content(made.id)).read() == ROWS


async def test_delete_file(desk: Desk) -> None:
    """files.delete"""
    made = await upload(desk)
    assert (await desk.client.files.delete(made.id)).deleted
    with pytest.raises(openai.NotFoundError):
        await desk.client.files.retrieve(made.id)


async def test_upload_in_parts(desk: Desk) -> None:
    """uploads.upload_file_chunked"""
    rows = ROWS * 40
    done = await desk.client.uploads.upload_file_chunked(
        file=rows,
        filename="many.jsonl",
        bytes=len(rows),
        mime_type="application/jsonl",
        purpose="fine-tune",
        part_size=512,
    )
    assert len(rows) > 3 * 512 and done.status == "completed" and done.file is not None
    assert (await desk.client.files.content(done.file.id)).read() == rows


async def test_cancel_an_upload(desk: Desk) -> None:
    """uploads.create, parts.create, cancel"""
    kept = await ids(desk.client.files.list())
    made = await desk.client.uploads.create(
        bytes=len(ROWS), filename="few.jsonl", mime_type="application/jsonl", purpose="fine-tune"
    )
    part = await desk.client.uploads.parts.create(made.id, data=ROWS)
    assert (await desk.client.uploads.cancel(made.id)).status == "cancelled"
    with pytest.raises(openai.APIStatusError):
        await desk.client.uploads.complete(made.id, part_ids=[part.id])
    assert await ids(desk.client.files.list()) == kept


async def test_list_models(desk: Desk) -> None:
    """models.list"""
    assert {MODEL, SLASHED} <= {model.id for model in await items(desk.client.models.list())}


async def test_retrieve_models(desk: Desk) -> None:
    """models.retrieve, also with a slash"""
    for name in (MODEL, SLASHED):
        assert (await desk.client.models.retrieve(name)).id == name
    with pytest.raises(openai.NotFoundError):
        await desk.client.models.retrieve("nobody/nothing")


async def test_delete_model(desk: Desk, bare: BareClient) -> None:
    """models.delete(ft:...)"""
    name = bare.model()
    assert (await desk.client.models.retrieve(name)).id == name
    assert (await desk.client.models.delete(name)).deleted
    with pytest.raises(openai.NotFoundError):
        await desk.client.models.retrieve(name)
    with pytest.raises(openai.PermissionDeniedError):
        await desk.client.models.delete(MODEL)


async def test_create_job(desk: Desk) -> None:
    """jobs.create(method, metadata, seed, suffix)"""
    file = await upload(desk)
    jobs = desk.client.fine_tuning.jobs
    made = await jobs.create(
        model=MODEL, training_file=file.id, method=HOSTED, seed=3, suffix="mine", metadata={"team": "a b"}
    )
    assert (made.object, made.model, made.seed, made.training_file) == ("fine_tuning.job", MODEL, 3, file.id)
    found = await jobs.retrieve(made.id)
    assert (found.metadata, found.status) == ({"team": "a b"}, "running")
    assert (found.model_extra or {})["split"]["next_seq"] == 1


async def test_create_job_with_hyperparameters(desk: Desk) -> None:
    """jobs.create(hyperparameters)"""
    wanted = {"n_epochs": 3, "batch_size": "auto"}
    made = await desk.client.fine_tuning.jobs.create(
        model=MODEL, training_file=(await upload(desk)).id, hyperparameters=wanted
    )
    assert (made.hyperparameters.n_epochs, made.hyperparameters.batch_size) == (3, "auto")


async def test_create_job_with_extra_body(desk: Desk, bare: BareClient) -> None:
    """jobs.create(extra_body)"""
    job = await make_job(desk)
    assert bare.call("GET", f"/v1/fine_tuning/jobs/{job}")["method"]["split"]["lora"]["rank"] == 2


async def test_supervised_is_refused(desk: Desk) -> None:
    """jobs.create refuses what needs labels"""
    with pytest.raises(openai.BadRequestError) as refused:
        await desk.client.fine_tuning.jobs.create(
            model=MODEL, training_file="file-" + "0" * 32, method={"type": "supervised", "supervised": {}}
        )
    assert (refused.value.param or "").startswith("method.")


@pytest.mark.own_project
async def test_list_jobs(desk: Desk) -> None:
    """jobs.list(limit=1), auto-paging"""
    made = [await make_job(desk) for _ in range(3)]
    assert [job.id for job in await items(desk.client.fine_tuning.jobs.list(limit=1))] == made[::-1]


async def test_list_jobs_by_metadata(desk: Desk) -> None:
    """jobs.list(metadata)"""
    wanted = await make_job(desk, metadata={"team": "d e"})
    await make_job(desk, metadata={"team": "f"})
    found = await items(desk.client.fine_tuning.jobs.list(limit=1, metadata={"team": "d e"}))
    assert [job.id for job in found] == [wanted]


async def test_list_events(desk: Desk) -> None:
    """jobs.list_events, paging"""
    job = await make_job(desk)
    await desk.client.fine_tuning.jobs.cancel(job)
    events = await items(desk.client.fine_tuning.jobs.list_events(job, limit=1))
    assert events[0].message == "Fine-tuning job is cancelled"
    assert events[-1].message.startswith("Created fine-tuning job")
    assert len({event.id for event in events}) == len(events)


async def test_pause_resume_cancel(desk: Desk) -> None:
    """jobs.pause, resume, cancel"""
    jobs, job = desk.client.fine_tuning.jobs, await make_job(desk)
    assert (await jobs.pause(job)).status == "paused"
    assert (await jobs.resume(job)).status == "running"
    assert (await jobs.cancel(job)).status == "cancelled"


async def test_cancel_a_running_job(desk: Desk, bare: BareClient) -> None:
    """jobs.cancel of a job amid its steps"""
    jobs, job = desk.client.fine_tuning.jobs, await make_hosted_job(desk)
    bare.step(job, 1)
    assert ((await jobs.retrieve(job)).status, (await jobs.retrieve(job)).finished_at) == ("running", None)
    made = await jobs.cancel(job)
    assert (made.status, made.fine_tuned_model) == ("cancelled", None) and made.finished_at >= made.created_at
    with pytest.raises(openai.ConflictError) as refused:
        await desk.client.post(f"/fine_tuning/jobs/{job}/optim_step", cast_to=object, body={"seq": 3, "lr": 0.01})
    assert refused.value.code == "job_not_running"
    assert (await jobs.retrieve(job)).status == "cancelled"


async def test_list_checkpoints(desk: Desk, bare: BareClient) -> None:
    """jobs.checkpoints.list, paging"""
    job, steps = await make_hosted_job(desk), []
    for seq in (1, 4):
        bare.step(job, seq)
        bare.call("POST", f"/v1/fine_tuning/jobs/{job}/optim_step", {"seq": seq + 2, "lr": 0.01})
        bare.call("POST", f"/v1/fine_tuning/jobs/{job}/checkpoints")
        steps.append(seq + 2)
    found = await items(desk.client.fine_tuning.jobs.checkpoints.list(job, limit=1))
    assert [point.step_number for point in found] == steps[::-1]
    assert {point.fine_tuning_job_id for point in found} == {job}


async def test_result_file(desk: Desk, bare: BareClient) -> None:
    """files.content(result_files[0]), CSV"""
    job = await make_hosted_job(desk)
    path = f"/v1/fine_tuning/jobs/{job}"
    bare.step(job, 1)
    bare.call("POST", f"{path}/optim_step", {"seq": 3, "lr": 0.01})
    for step, loss in ((1, 0.5), (2, 0.25)):
        bare.call("POST", f"{path}/metrics", {"step": step, "metrics": {"train_loss": loss}})
    bare.call("POST", f"{path}/complete")
    done = await desk.client.fine_tuning.jobs.retrieve(job)
    content = (await desk.client.files.content(done.result_files[0])).read().decode()
    rows = list(csv.DictReader(io.StringIO(content)))
    assert [(float(row["step"]), float(row["train_loss"])) for row in rows] == [(1, 0.5), (2, 0.25)]


async def test_embeddings(desk: Desk) -> None:
    """embeddings.create, float and base64"""
    plain = await desk.client.embeddings.create(model=MODEL, input=["w5 w6", "w7"], encoding_format="float")
    assert [(item.index, len(item.embedding)) for item in plain.data] == [(0, WIDTH), (1, WIDTH)]
    packed = await desk.client.embeddings.create(model=MODEL, input=["w5 w6", "w7"])
    assert packed.data[0].embedding == pytest.approx(plain.data[0].embedding, rel=1e-5, abs=1e-6)
    # Alone, and not beside another text: without AVX-512 a row is added up in another order then.
    raw = await desk.client.embeddings.create(model=MODEL, input="w7", encoding_format="base64")
    numbers = struct.unpack(f"<{WIDTH}f", base64.b64decode(raw.data[0].embedding))
    assert list(numbers) == pytest.approx(plain.data[1].embedding, rel=1e-5, abs=1e-5)
    assert plain.usage.total_tokens == 7


def request(number: int, **fields: object) -> bytes:
    """A line of a batch."""
    line = {"custom_id": f"r{number}", "method": "POST", "url": "/v1/embeddings"}
    body = {"model": MODEL, "input": ["w5 w6", "w7"]} | fields
    return json.dumps(line | {"body": body}).encode() + b"\n"


async def make_batch(desk: Desk, lines: bytes, **fields: object) -> Batch:
    file = await desk.client.files.create(file=("requests.jsonl", lines), purpose="batch")
    made = await desk.client.batches.create(
        input_file_id=file.id, endpoint="/v1/embeddings", completion_window="24h", **fields
    )
    assert isinstance(made, Batch)
    return made


async def batch_over(desk: Desk, batch: str) -> Batch:
    while True:
        found = await desk.client.batches.retrieve(batch)
        assert isinstance(found, Batch)
        if found.status in ("completed", "failed", "expired", "cancelled"):
            return found
        await asyncio.sleep(0.05)


async def test_batch(desk: Desk) -> None:
    """batches.create, retrieve; files.content of the output"""
    made = await make_batch(desk, request(0) + request(1), metadata={"team": "a"})
    assert (made.object, made.endpoint, made.metadata) == ("batch", "/v1/embeddings", {"team": "a"})
    done = await batch_over(desk, made.id)
    assert done.status == "completed" and done.request_counts is not None and done.completed_at is not None
    assert (done.request_counts.total, done.request_counts.completed, done.request_counts.failed) == (2, 2, 0)
    assert (done.error_file_id, done.errors) == (None, None) and done.output_file_id is not None
    lines = (await desk.client.files.content(done.output_file_id)).read().decode().splitlines()
    live = await desk.client.embeddings.create(model=MODEL, input=["w5 w6", "w7"], encoding_format="float")
    for number, line in enumerate(map(json.loads, lines)):
        assert (line["custom_id"], line["response"]["status_code"], line["error"]) == (f"r{number}", 200, None)
        answer = CreateEmbeddingResponse.model_validate(line["response"]["body"])
        assert answer.data[1].embedding == pytest.approx(live.data[1].embedding, rel=1e-5)
    assert len(lines) == 2


async def test_batch_with_requests_that_are_refused(desk: Desk) -> None:
    """batches.create; files.content of the errors"""
    done = await batch_over(desk, (await make_batch(desk, request(0) + request(1, dimensions=3))).id)
    assert done.status == "completed" and done.request_counts is not None and done.request_counts.failed == 1
    assert done.error_file_id is not None
    line = json.loads((await desk.client.files.content(done.error_file_id)).read())
    assert (line["custom_id"], line["response"]["status_code"]) == ("r1", 400)
    assert line["response"]["body"]["error"]["code"] == "unsupported_dimensions"


async def test_batch_with_bad_lines(desk: Desk) -> None:
    """batches.retrieve: errors by line"""
    done = await batch_over(desk, (await make_batch(desk, request(0) + request(0))).id)
    assert done.status == "failed" and done.errors is not None and done.errors.data is not None
    assert [(error.line, error.code) for error in done.errors.data] == [(2, "duplicate_custom_id")]
    with pytest.raises(openai.BadRequestError) as refused:
        await desk.client.batches.create(
            input_file_id=done.input_file_id, endpoint="/v1/chat/completions", completion_window="24h"
        )
    assert refused.value.param == "endpoint"


async def test_cancel_batch(desk: Desk) -> None:
    """batches.cancel"""
    made = await make_batch(desk, b"".join(map(request, range(3000))))
    assert (await desk.client.batches.cancel(made.id)).status == "cancelling"
    done = await batch_over(desk, made.id)
    assert done.status == "cancelled" and done.cancelled_at is not None and done.completed_at is None


@pytest.mark.own_project
async def test_list_batches(desk: Desk) -> None:
    """batches.list, paging"""
    made = [(await make_batch(desk, request(0))).id for _ in range(3)]
    assert [batch.id for batch in await items(desk.client.batches.list(limit=1))] == made[::-1]


async def test_embeddings_of_a_tuned_model(desk: Desk, bare: BareClient) -> None:
    """embeddings.create(ft:...)"""
    made = await desk.client.embeddings.create(model=bare.model(), input="w5", encoding_format="float")
    assert len(made.data[0].embedding) == WIDTH


async def stream_events(desk: Desk, job: str, **options: object) -> list[str]:
    stream = await desk.client.get(
        f"/fine_tuning/jobs/{job}/events",
        cast_to=FineTuningJobEvent,
        stream=True,
        stream_cls=desk.stream_class(FineTuningJobEvent),
        options={"params": {"stream": "true"}, **options},
    )
    return [event.id for event in await items(stream)]


async def test_event_stream(desk: Desk) -> None:
    """events as a Stream, to [DONE]"""
    job = await make_job(desk)
    await desk.client.fine_tuning.jobs.cancel(job)
    listed = await items(desk.client.fine_tuning.jobs.list_events(job))
    assert await stream_events(desk, job) == [event.id for event in listed][::-1]


async def test_event_stream_goes_on(desk: Desk) -> None:
    """events as a Stream, after Last-Event-ID"""
    job = await make_job(desk)
    await desk.client.fine_tuning.jobs.cancel(job)
    known = await stream_events(desk, job)
    assert len(known) > 2
    assert await stream_events(desk, job, headers={"Last-Event-ID": known[1]}) == known[2:]


async def test_continue_from_a_model(desk: Desk, bare: BareClient) -> None:
    """jobs.create(model=ft:...)"""
    name = bare.model()
    job = await desk.client.fine_tuning.jobs.create(model=name, training_file=(await upload(desk)).id)
    assert (job.status, (job.model_extra or {})["origin"]) == ("running", name)


async def test_continue_from_a_checkpoint(desk: Desk, bare: BareClient) -> None:
    """jobs.create(model=a checkpoint's)"""
    first = await make_hosted_job(desk)
    bare.step(first, 1)
    bare.call("POST", f"/v1/fine_tuning/jobs/{first}/optim_step", {"seq": 3, "lr": 0.01})
    bare.call("POST", f"/v1/fine_tuning/jobs/{first}/checkpoints")
    points = await items(desk.client.fine_tuning.jobs.checkpoints.list(first))
    name = points[0].fine_tuned_model_checkpoint
    job = await desk.client.fine_tuning.jobs.create(model=name, training_file=(await upload(desk)).id)
    assert (job.status, (job.model_extra or {})["origin"]) == ("running", name)


async def test_another_projects_job_is_not_found(desk: Desk, host: TinyHost) -> None:
    """404: another project's job"""
    job = await make_job(desk)
    other = desk.another(api_key=host.key("somebody-else"))
    with pytest.raises(openai.NotFoundError):
        await other.fine_tuning.jobs.cancel(job)
    assert (await desk.client.fine_tuning.jobs.retrieve(job)).status == "running"
