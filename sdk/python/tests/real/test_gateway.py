"""The gateway in front of a real host: OpenAI's flow for a classifier, with the labels in the file."""

from __future__ import annotations

import json
from pathlib import Path

from test_gateway import ended, upload
from test_gateway import serving as serving_toy

from .conftest import MODEL, RealHost
from .test_training import notes


def chats(count: int, seed: int) -> list[dict[str, list[dict[str, str]]]]:
    data = notes(count, seed)
    return [
        {
            "messages": [
                {"role": "user", "content": str(text)},
                {"role": "assistant", "content": data.label_names[label]},
            ]
        }
        for text, label in zip(data.texts, data.labels, strict=True)
    ]


def test_a_classifier_is_trained_and_asked(hosts: list[RealHost], tmp_path: Path) -> None:
    host = hosts[0]
    before = len(list(host.client().jobs.list()))
    with serving_toy(tmp_path / "gateway", host, model=MODEL, keys=[host.api_key]) as client:
        rows = "\n".join(json.dumps(row) for row in chats(200, 0)).encode()
        made = client.fine_tuning.jobs.create(model=MODEL, training_file=upload(client, rows), suffix="notes")
        job = ended(client, made.id)
        assert job.status == "succeeded", job
        users, answers = zip(*(row["messages"] for row in chats(60, 1)), strict=True)
        said = client.completions.create(model=job.fine_tuned_model, prompt=[user["content"] for user in users]).choices
        right = sum(one.text == answer["content"] for one, answer in zip(said, answers, strict=True))
        print(f"{right} of {len(users)} right")
        assert right >= 46, "guessing is right in 30, with a deviation of 4"
    assert len(list(host.client().jobs.list())) == before, "the host has no job of it"
