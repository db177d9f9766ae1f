"""The gateway by the stock `openai` package, on toy hosts: files with labels in, a model that says a label out."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import math
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
import uvicorn
from conftest import sentiment
from fake_host import FakeHost

from blindtune.cli import main
from blindtune.gateway import batches
from blindtune.gateway.app import Gateway
from blindtune.gateway.training import Hosts

MODEL = "gpt-4o-mini-2024-07-18"
SYSTEM = {"role": "system", "content": "Say whether the review is positive."}
Start = Callable[..., openai.OpenAI]


@contextmanager
def serving(folder: Path, host: FakeHost, key: str | None = None, **more: Any) -> Iterator[openai.OpenAI]:
    """A gateway on a port of its own, and the stock client of it."""
    where: dict[str, Any] = {"model": "toy", "urls": [host.url], "keys": ["key"], **more}
    hosts = Hosts(features=folder.parent / "features", **where)
    config = uvicorn.Config(Gateway(folder, hosts, key).app(), port=0, log_level="warning")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    client = openai.OpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key=key or "any", max_retries=0)
    try:
        yield client
    finally:
        client.close()
        server.should_exit = True
        thread.join(20)


@pytest.fixture
def client(fake_host: FakeHost, tmp_path: Path) -> Iterator[openai.OpenAI]:
    with serving(tmp_path / "gateway", fake_host) as made:
        yield made


def chats(count: int, seed: int = 0, label: Callable[[str], str] = str) -> bytes:
    """A file as OpenAI's fine-tuning takes it."""
    data = sentiment(count, seed)
    lines = []
    for text, number in zip(data.texts, data.labels, strict=True):
        answer = {"role": "assistant", "content": label(data.label_names[int(number)])}
        lines.append(json.dumps({"messages": [SYSTEM, {"role": "user", "content": text}, answer]}))
    return "\n".join(lines).encode()


def upload(client: openai.OpenAI, content: bytes) -> str:
    return client.files.create(file=("train.jsonl", content), purpose="fine-tune").id


def ended(client: openai.OpenAI, job: str) -> Any:
    """As every script polls."""
    deadline = time.monotonic() + 120
    while (found := client.fine_tuning.jobs.retrieve(job)).status not in ("succeeded", "failed", "cancelled"):
        assert time.monotonic() < deadline, found
        time.sleep(0.05)
    return found


def train(client: openai.OpenAI, content: bytes, **more: Any) -> Any:
    method = {"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": 6, "batch_size": 16}}}
    made = client.fine_tuning.jobs.create(
        model=MODEL,
        training_file=upload(client, content),
        method=method,
        **more,  # type: ignore[arg-type]
    )
    return ended(client, made.id)


def ask(client: openai.OpenAI, model: str, text: str, **more: Any) -> Any:
    return client.chat.completions.create(model=model, messages=[SYSTEM, {"role": "user", "content": text}], **more)


def test_a_script_for_openai_goes_on_unchanged(client: openai.OpenAI) -> None:
    fresh = chats(60, 1)
    job = train(client, chats(200), validation_file=upload(client, fresh), suffix="notes")
    assert job.status == "succeeded" and job.error is None, job
    assert job.fine_tuned_model.startswith(f"ft:{MODEL}:gateway:notes:")
    events = [event.message for event in client.fine_tuning.jobs.list_events(job.id)][::-1]
    assert events[0] == f"Created fine-tuning job: {job.id}" and "toy of the host" in events[1]
    assert events[-1] == "The job has successfully completed"
    assert any(said.startswith("Protection of the labels: blind") for said in events)
    assert any(said.startswith("On the validation file: loss ") for said in events)
    table = client.files.content(job.result_files[0]).text.splitlines()
    columns = "step,train_loss,train_accuracy,valid_loss,valid_accuracy,valid_mean_token_accuracy"
    assert table[0] == columns and len(table) > 6
    _, users, answers = zip(*(json.loads(line)["messages"] for line in fresh.decode().splitlines()), strict=True)
    said = client.completions.create(model=job.fine_tuned_model, prompt=[user["content"] for user in users]).choices
    right = sum(one.text == answer["content"] for one, answer in zip(said, answers, strict=True))
    assert right >= 46, "58 or 59 of 60 under ten secrets; guessing is right in 30, with a deviation of 4"
    assert ask(client, job.fine_tuned_model, users[0]["content"]).choices[0].message.content == said[0].text
    assert [job.id] == [one.id for one in client.fine_tuning.jobs.list()]
    assert list(client.fine_tuning.jobs.checkpoints.list(job.id)) == []


def test_an_answer_has_probabilities_and_comes_as_a_stream_too(client: openai.OpenAI) -> None:
    model = train(client, chats(60)).fine_tuned_model
    answer = ask(client, model, "a good lovely film", logprobs=True, top_logprobs=5)
    (said,) = answer.choices
    assert said.message.content in ("positive", "negative") and said.finish_reason == "stop"
    (token,) = said.logprobs.content
    assert token.token == said.message.content and token.logprob == max(one.logprob for one in token.top_logprobs)
    assert sum(math.exp(one.logprob) for one in token.top_logprobs) == pytest.approx(1.0, abs=1e-4)
    parts = [part.choices[0].delta.content or "" for part in ask(client, model, "a good lovely film", stream=True)]
    assert "".join(parts) == said.message.content
    texts = client.completions.create(model=model, prompt=["a good lovely film", "an awful plot"], logprobs=2)
    assert texts.choices[0].text == said.message.content and len(texts.choices) == 2


def test_a_seed_gives_the_same_classifier_again(client: openai.OpenAI) -> None:
    jobs = [train(client, chats(60), seed=seed) for seed in (3, 3, 4)]
    said = [client.completions.create(model=job.fine_tuned_model, prompt="a good film", logprobs=2) for job in jobs]
    first, again, other = (one.choices[0].logprobs.top_logprobs for one in said)  # type: ignore[union-attr]
    assert first == again != other and [job.seed for job in jobs] == [3, 3, 4]
    drawn = {client.fine_tuning.jobs.create(model=MODEL, training_file=jobs[0].training_file).seed for _ in "ab"}
    assert len(drawn) == 2, "a job that names none gets one of its own"


def test_a_classifier_as_openai_s_cookbook_makes_one(client: openai.OpenAI) -> None:
    """Prompts that end in ###, completions that begin with a blank; the answer has the blank, as there."""
    rows = [json.loads(line)["messages"] for line in chats(200).decode().splitlines()]
    lines = [{"prompt": f"{row[1]['content']}\n\n###\n\n", "completion": f" {row[2]['content']}"} for row in rows]
    parts = ["".join(json.dumps(line) + "\n" for line in part).encode() for part in (lines[::2], lines[1::2])]
    job = train(client, parts[0], validation_file=upload(client, parts[1]))
    table = list(csv.DictReader(io.StringIO(client.files.content(job.result_files[0]).text)))
    (scored,) = [row for row in table if row["train_accuracy"]]
    assert scored is table[-1] and float(scored["valid_mean_token_accuracy"]) >= 0.7, "guessing is 0.5, deviation 0.05"
    right = 0
    for line in lines[1::2]:
        model, prompt = job.fine_tuned_model, line["prompt"]
        said = client.completions.create(model=model, prompt=prompt, max_tokens=1, temperature=0, logprobs=2).choices[0]
        (top,) = said.logprobs.top_logprobs  # type: ignore[union-attr,misc]
        assert set(top) == {" positive", " negative"} and max(top, key=lambda name: top[name]) == said.text
        right += said.text == line["completion"]
    assert right == round(100 * float(scored["valid_mean_token_accuracy"]))


def test_batches_are_cancelled_and_keep_their_file(
    fake_host: FakeHost, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, free, asked = threading.Event(), threading.Event(), batches.answers

    def waits(*given: Any) -> Any:
        begun.set()
        assert free.wait(60)
        return asked(*given)

    with serving(tmp_path / "gateway", fake_host) as client:
        model = train(client, chats(40)).fine_tuned_model
        body = {"model": model, "messages": [{"role": "user", "content": "a good film"}]}
        line = {"custom_id": "a", "method": "POST", "url": "/v1/chat/completions", "body": body}
        file = client.files.create(file=("a.jsonl", json.dumps(line).encode()), purpose="batch").id
        monkeypatch.setattr(batches, "answers", waits)
        how: dict[str, Any] = {"input_file_id": file, "endpoint": line["url"], "completion_window": "24h"}
        first, second, third = (client.batches.create(**how).id for _ in range(3))
        assert begun.wait(60)
        with pytest.raises(openai.ConflictError, match="A batch of this file"):
            client.files.delete(file)
        assert client.batches.cancel(first).status == client.batches.cancel(second).status == "cancelling"
        free.set()
        assert [_batch_over(client, name).status for name in (first, second)] == ["cancelled", "cancelled"]
        assert _batch_over(client, third).status == "completed"


def test_a_batch_under_way_is_begun_again_after_a_stop(
    fake_host: FakeHost, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, free, asked, pieces = threading.Event(), threading.Event(), batches.answers, []

    def holds_the_second(*given: Any) -> Any:
        pieces.append(len(given[-1]))
        if len(pieces) == 2:
            begun.set()
            assert free.wait(60)
        return asked(*given)

    count = 2 * batches.PIECE + 1
    with serving(tmp_path / "gateway", fake_host) as client:
        how: dict[str, Any] = {"url": "/v1/completions", "method": "POST"}
        body = {"model": train(client, chats(40)).fine_tuned_model, "prompt": "a good film"}
        lines = [json.dumps({"custom_id": f"row {row}", "body": body, **how}) for row in range(count)]
        file = client.files.create(file=("a.jsonl", "\n".join(lines).encode()), purpose="batch").id
        monkeypatch.setattr(batches, "answers", holds_the_second)
        made = client.batches.create(input_file_id=file, endpoint=how["url"], completion_window="24h")
        assert begun.wait(60)
        under_way = client.batches.retrieve(made.id)
        assert under_way.status == "in_progress" and under_way.request_counts is not None
        assert (under_way.request_counts.completed, under_way.output_file_id) == (batches.PIECE, None)
        threading.Timer(0.5, free.set).start()  # while the gateway stops
    with serving(tmp_path / "gateway", fake_host) as client:
        done = _batch_over(client, made.id)
        assert done.status == "completed" and done.request_counts.completed == count
        rows = [json.loads(line)["custom_id"] for line in client.files.content(done.output_file_id).text.splitlines()]
        assert rows == [f"row {row}" for row in range(count)]
        assert len([one for one in client.files.list() if one.purpose == "batch_output"]) == 1
    assert pieces == [batches.PIECE, batches.PIECE, batches.PIECE, batches.PIECE, 1], "from its first line"


def _batch_over(client: openai.OpenAI, batch: str) -> Any:
    deadline = time.monotonic() + 60
    while (found := client.batches.retrieve(batch)).status not in ("completed", "failed", "cancelled"):
        assert time.monotonic() < deadline, found
        time.sleep(0.05)
    return found


def test_weaker_methods_tell_their_epochs_and_use_no_seed(fake_host: FakeHost, tmp_path: Path) -> None:
    with serving(tmp_path / "gateway", fake_host, accept="hurdle", wanted=1.0) as client:
        job = train(client, chats(60, label=lambda name: name), seed=3)
        said = [event.message for event in client.fine_tuning.jobs.list_events(job.id)]
    assert job.status == "succeeded", job
    assert any(one.startswith("side: Step ") for one in said) and any(one.startswith("result: ") for one in said)
    assert any(one.startswith("seed 3 is not used with --accept hurdle") for one in said)


def test_models_are_listed_and_forgotten(client: openai.OpenAI) -> None:
    name = train(client, chats(40)).fine_tuned_model
    assert [model.id for model in client.models.list()] == ["toy", name]
    assert client.models.retrieve(name).owned_by == "gateway" and client.models.delete(name).deleted
    with pytest.raises(openai.NotFoundError, match="labels of models that were fine-tuned here"):
        ask(client, name, "a film")


def free(name: str, counter: Iterator[int]) -> str:
    return f"{name} number {next(counter)}"


def test_what_is_no_classification_is_refused_with_the_reason(client: openai.OpenAI) -> None:
    numbers = iter(range(1000))
    row = {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}
    two = {"messages": [*row["messages"], {"role": "assistant", "content": "c"}]}
    cases = [
        (chats(40, label=lambda name: free(name, numbers)), "40 different answers"),
        (chats(40, label=lambda name: name * 100), "cannot train a model that writes text"),
        (chats(40, label=lambda _: "same"), "nothing to learn"),
        (chats(4), "at least 10 are needed"),
        (b"no json", "Line 1 is not JSON"),
        (json.dumps(two).encode(), "Line 1: a chat must have one answer of the assistant"),
        (json.dumps({"input": "a"}).encode(), "Line 1: a row is"),
        (b"\xff\xfe", "not UTF-8"),
    ]
    for content, words in cases:
        with pytest.raises(openai.BadRequestError, match=words):
            upload(client, content)
    assert list(client.files.list()) == [], "none was kept"


def test_prompts_and_plain_rows_are_read_too(client: openai.OpenAI) -> None:
    data = sentiment(40)
    names = [data.label_names[int(label)] for label in data.labels]
    for text, label in (("prompt", "completion"), ("text", "label")):
        rows = [json.dumps({text: one, label: f" {name}"}) for one, name in zip(data.texts, names, strict=True)]
        job = train(client, "\n".join(rows).encode())
        assert (
            job.status == "succeeded"
            and ask(client, job.fine_tuned_model, "a film").choices[0].message.content in names
        )


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"training_file": "file-none"}, "There is no file 'file-none'"),
        ({"method": {"type": "dpo"}}, "'supervised' alone"),
        ({"suffix": "a:b"}, "without colons"),
        ({"hyperparameters": {"n_epochs": 0}}, "n_epochs: 'auto' or a number above 0"),
        ({"validation_file": "file-none"}, "There is no file 'file-none'"),
        ({"integrations": [{"type": "wandb"}]}, "integrations: this gateway has no such field"),
    ],
)
def test_a_wrong_job_is_refused_by_name(client: openai.OpenAI, body: dict[str, Any], words: str) -> None:
    given = {"model": MODEL, "training_file": upload(client, chats(20)), **body}
    with pytest.raises(openai.APIStatusError, match=words):
        client.fine_tuning.jobs.create(**given)
    assert list(client.fine_tuning.jobs.list()) == []


def test_a_file_in_use_stays_and_a_cancelled_job_makes_no_model(
    client: openai.OpenAI, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, free, make = threading.Event(), threading.Event(), Hosts.tuner

    def waits(*given: Any) -> Any:
        begun.set()
        assert free.wait(60)
        return make(*given)

    monkeypatch.setattr(Hosts, "tuner", waits)
    file = upload(client, chats(40))
    job = client.fine_tuning.jobs.create(model=MODEL, training_file=file)
    after = client.fine_tuning.jobs.create(model=MODEL, training_file=file)
    assert begun.wait(60) and client.fine_tuning.jobs.retrieve(job.id).status == "running"
    with pytest.raises(openai.ConflictError, match="trains on this file"):
        client.files.delete(file)
    assert client.fine_tuning.jobs.cancel(job.id).status == "cancelled"
    with pytest.raises(openai.ConflictError, match="cancelled already"):
        client.fine_tuning.jobs.cancel(job.id)
    free.set()
    assert ended(client, after.id).status == "succeeded", "the next one's turn comes after it"
    assert client.fine_tuning.jobs.retrieve(job.id).fine_tuned_model is None
    assert len(list(client.models.list())) == 2 and client.files.delete(file).deleted


def test_a_job_goes_on_after_the_gateway_was_stopped(fake_host: FakeHost, tmp_path: Path) -> None:
    with serving(tmp_path / "gateway", fake_host) as client:
        job = client.fine_tuning.jobs.create(model=MODEL, training_file=upload(client, chats(60)))
    with serving(tmp_path / "gateway", fake_host) as client:
        done = ended(client, job.id)
        assert done.status == "succeeded" and ask(client, done.fine_tuned_model, "a film").choices


def test_a_host_that_is_away_fails_the_job_in_words(tmp_path: Path) -> None:
    host = FakeHost()
    host.close()
    with serving(tmp_path / "gateway", host) as client:
        job = train(client, chats(20))
        assert job.status == "failed" and "nothing listens at" in job.error.message
        assert job.fine_tuned_model is None


def test_with_a_key_nobody_else_is_answered(fake_host: FakeHost, tmp_path: Path) -> None:
    with serving(tmp_path / "gateway", fake_host, key="of-this-house") as client:
        assert list(client.files.list()) == []
        for headers in ({"Authorization": "Bearer another"}, {"Authorization": "of-this-house!"}, {}):
            answer = httpx.get(f"{client.base_url}files", headers=headers)
            assert answer.status_code == 401 and answer.json()["error"]["code"] == "invalid_api_key"


def test_what_is_not_there_is_said_in_the_envelope(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError, match=r"batches, chat\.completions and completions"):
        client.embeddings.create(model="toy", input="a")
    with pytest.raises(openai.BadRequestError, match="n: a classifier has one answer"):
        ask(client, "ft:none", "a film", n=2)


def test_labels_stay_in_files_of_this_account_alone(client: openai.OpenAI, tmp_path: Path) -> None:
    upload(client, chats(20))
    for path in (tmp_path / "gateway").rglob("*"):
        if path.name.endswith(("-wal", "-shm")):
            continue  # in a folder that nobody else may enter
        assert path.stat().st_mode & 0o077 == 0, path


def sent(host: FakeHost) -> str:
    """SHA-256 of all that a host was sent."""
    digest = hashlib.sha256()
    for method, path, body in host.seen:
        for part in (method.encode(), path.encode(), body):
            digest.update(len(part).to_bytes(8, "big") + part)
    return digest.hexdigest()


def test_the_host_is_sent_the_same_bytes_under_any_labels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The theorem, through the gateway; the secret is fixed, which orders what is asked."""
    from blindtune.private.secret import SecretStream

    monkeypatch.setattr(SecretStream, "fresh", classmethod(lambda cls: cls(b"one secret for all")))
    found = set()
    for turn, swap in enumerate(
        ({}, {"positive": "negative", "negative": "positive"}, {"positive": "a very odd word"})
    ):
        host = FakeHost()
        folder = tmp_path / f"turn{turn}"
        folder.mkdir()
        try:
            with serving(folder / "gateway", host) as client:
                job = train(client, chats(60, label=lambda name, swap=swap: swap.get(name, name)))  # type: ignore[misc]
                assert job.status == "succeeded"
                ask(client, job.fine_tuned_model, "a good film")
                heard = b"".join(body for _, _, body in host.seen)
                assert host.seen and b"very odd" not in heard and b"Say whether" not in heard
                found.add(sent(host))
        finally:
            host.close()
    assert len(found) == 1


def test_the_shell_starts_one_and_ends_it(fake_host: FakeHost, tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = ["gateway", "--host", fake_host.url, "--api-key", "k", "--model", "toy", "--port", str(port)]
    command = [sys.executable, "-m", "blindtune.cli", *words, "--state", str(tmp_path / "state")]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        client = openai.OpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key="any", max_retries=8)
        assert [model.id for model in client.models.list()] == ["toy"]
    finally:
        process.send_signal(signal.SIGINT)
        said = process.communicate(timeout=30)[1]
    assert process.returncode in (0, 130) and f"http://127.0.0.1:{port}/v1" in said, said


def test_nobody_else_is_let_in_without_a_key(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["gateway", "--model", "m", "--host", "http://127.0.0.1:9", "--listen", "0.0.0.0"]) == 2
    assert "set BLINDTUNE_GATEWAY_KEY to a key" in capsys.readouterr().err
