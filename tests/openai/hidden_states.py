"""Feature jobs and their files through the stock `openai` package: one test a call, for both clients."""

from __future__ import annotations

import asyncio
import json
import struct

import openai
import pytest
from acceptance import upload
from desk import Desk
from tiny_host import MODEL, WIDTH

FEATURES = {"type": "features", "features": {"layers": 2, "tokens": "mean", "dtype": "float32"}}
OVER = ("succeeded", "failed", "cancelled")


async def features(desk: Desk) -> list[str]:
    """The files of a features job that nobody works for."""
    jobs, file = desk.client.fine_tuning.jobs, await upload(desk)
    job = await jobs.create(model=MODEL, training_file=file.id, method=FEATURES)
    while job.status not in OVER:
        await asyncio.sleep(0.05)
        job = await jobs.retrieve(job.id)
    assert (job.status, job.error) == ("succeeded", None) and job.result_files
    return list(job.result_files)


async def test_features_job(desk: Desk) -> None:
    """jobs.create(method=features), result_files"""
    headers = []
    for name in await features(desk):
        assert (await desk.client.files.retrieve(name)).purpose == "fine-tune-results"
        body = (await desk.client.files.content(name)).read()
        (length,) = struct.unpack("<Q", body[:8])
        headers.append(json.loads(body[8 : 8 + length]))
    shard = next(header for header in headers if "first_row" in header["__metadata__"])
    states = {name: entry for name, entry in shard.items() if name.startswith("hidden.")}
    assert len(states) == 2 and {tuple(entry["shape"]) for entry in states.values()} == {(3, WIDTH)}


async def test_ranges_of_a_file(desk: Desk) -> None:
    """files.content with a Range: 206, 416"""
    name, calls = (await features(desk))[0], desk.client.files.with_raw_response
    whole = (await desk.client.files.content(name)).read()
    part = await calls.content(name, extra_headers={"Range": "bytes=8-19"})
    assert (part.status_code, part.content) == (206, whole[8:20])
    assert part.headers["content-range"] == f"bytes 8-19/{len(whole)}"
    with pytest.raises(openai.APIStatusError) as refused:
        await calls.content(name, extra_headers={"Range": f"bytes={len(whole)}-"})
    assert refused.value.status_code == 416
