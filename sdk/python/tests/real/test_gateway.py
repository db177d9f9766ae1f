"""The gateway in front of a real host: OpenAI's flow for a classifier, with the labels in the file."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

from test_gateway import ended, train, upload
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


def test_openai_s_cookbook_for_a_classifier(hosts: list[RealHost], tmp_path: Path) -> None:
    """Prompts that end in ###, completions that begin with a blank, a validation file, `max_tokens=1`."""
    host = hosts[0]
    rows = [[turn["content"] for turn in row["messages"]] for row in chats(260, 0)]
    lines = [json.dumps({"prompt": f"{text}\n\n###\n\n", "completion": f" {label}"}) for text, label in rows]
    with serving_toy(tmp_path / "gateway", host, model=MODEL, keys=[host.api_key]) as client:
        validation = upload(client, "\n".join(lines[200:]).encode())
        job = train(client, "\n".join(lines[:200]).encode(), validation_file=validation)
        table = list(csv.DictReader(io.StringIO(client.files.content(job.result_files[0]).text)))
        prompts = [json.loads(line)["prompt"] for line in lines[200:]]
        how: dict[str, Any] = {"max_tokens": 1, "temperature": 0, "logprobs": 2}
        said = client.completions.create(model=job.fine_tuned_model, prompt=prompts, **how).choices
    right = sum(one.text == json.loads(line)["completion"] for one, line in zip(said, lines[200:], strict=True))
    assert right == round(60 * float(table[-1]["valid_mean_token_accuracy"]))
    assert right >= 46, "guessing is right in 30, with a deviation of 4"


def test_a_weaker_method_trains_on_two_hosts_where_it_is_accepted(hosts: list[RealHost], tmp_path: Path) -> None:
    before = [{job.id for job in host.client().jobs.list()} for host in hosts]
    where: dict[str, Any] = {"urls": [host.url for host in hosts], "keys": [host.api_key for host in hosts]}
    where |= {"model": MODEL, "accept": "hurdle", "wanted": 1.0}
    poor = {"n_epochs": 1, "batch_size": 16, "learning_rate_multiplier": 1e-4}
    method: Any = {"type": "supervised", "supervised": {"hyperparameters": poor}}
    with serving_toy(tmp_path / "gateway", hosts[0], **where) as client:
        rows = "\n".join(json.dumps(row) for row in chats(160, 0)).encode()
        made = client.fine_tuning.jobs.create(model=MODEL, training_file=upload(client, rows), method=method)
        job = ended(client, made.id)
        assert job.status == "succeeded", job
        said = [event.message for event in client.fine_tuning.jobs.list_events(job.id, limit=100)]
        assert any(message.startswith("Protection of the labels: hurdle") for message in said), said
        (result,) = [message for message in said if message.startswith("result: ")]
        users = [row["messages"][0]["content"] for row in chats(20, 1)]
        answers = client.completions.create(model=job.fine_tuned_model, prompt=users).choices
        assert {one.text for one in answers} <= {"no", "yes"} and len(answers) == 20
    # Sixteen rows held out decide: p3eft wins nearly always, and what lost is given up.
    over = "succeeded" if result.startswith("result: p3eft") else "cancelled"
    for host, known in zip(hosts, before, strict=True):
        (one,) = [job for job in host.client().jobs.list() if job.id not in known]
        assert (one.status, one.protection) == (over, "hurdle"), "each host has its share, and none is left open"
