"""Answers of fine-tuned models: the label, with probabilities as log probabilities.

Owns: models by name, and the forms of `chat.completions` and `completions`. Must never: answer by a model that was not
trained here.
"""

from __future__ import annotations

import json
import math
import threading
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ..training.trainer import Tuner
from .errors import Refused, not_found
from .examples import text_of
from .store import Store
from .training import Hosts

MOST_TOP = 20
"""Labels beside the answer, as OpenAI has it."""
LEAST = 1e-9


class Models:
    """The fine-tuned models of a store."""

    def __init__(self, store: Store, hosts: Hosts) -> None:
        self.store, self.hosts = store, hosts
        self._loaded: dict[str, Tuner] = {}
        self._lock = threading.Lock()

    def all(self) -> list[dict[str, Any]]:
        """The backbone, and what was made of it."""
        made = [_model(job["fine_tuned_model"], job["created_at"], "gateway") for job in self._jobs()]
        return [_model(self.hosts.model, 0, "host"), *made]

    def get(self, name: str) -> dict[str, Any]:
        """One of them."""
        found = next((model for model in self.all() if model["id"] == name), None)
        if found is None:
            raise not_found("model", name)
        return found

    def delete(self, name: str) -> dict[str, Any]:
        """Forget a model; its job stays."""
        job = self._job(name)
        self.store.change("job", job["id"], {"fine_tuned_model": None})
        with self._lock:
            self._loaded.pop(name, None)
        return {"id": name, "object": "model", "deleted": True}

    def probabilities(self, name: str, texts: Sequence[str]) -> list[dict[str, float]]:
        """Of each text its labels, likeliest first."""
        job = self._job(name)
        with self._lock:
            if name not in self._loaded:
                self._loaded[name] = self.hosts.load(self.store.run(job["id"]))
            tuner = self._loaded[name]
            found = tuner.predict_proba(list(texts))
        named = [dict(zip(tuner.label_names, map(float, row), strict=True)) for row in found]
        return [dict(sorted(one.items(), key=lambda pair: -pair[1])) for one in named]

    def _jobs(self) -> list[dict[str, Any]]:
        return [job for job in self.store.all("job") if job.get("fine_tuned_model")]

    def _job(self, name: str) -> dict[str, Any]:
        found = next((job for job in self._jobs() if job["fine_tuned_model"] == name), None)
        if found is None:
            raise Refused(
                404,
                "model_not_found",
                f"There is no fine-tuned model {name!r} in this gateway; GET /v1/models lists them. It answers with "
                "the labels of models that were fine-tuned here, and writes no text.",
                "model",
            )
        return found


def _model(name: str, created: int, owner: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": created, "owned_by": owner}


def chat(models: Models, body: Mapping[str, Any]) -> dict[str, Any]:
    """`POST /v1/chat/completions`."""
    name, text = _name(body), text_of(body.get("messages"))
    _only_one(body)
    (found,) = models.probabilities(name, [text])
    label = next(iter(found))
    message = {"role": "assistant", "content": label, "refusal": None}
    choice: dict[str, Any] = {"index": 0, "message": message, "finish_reason": "stop", "logprobs": None}
    if body.get("logprobs"):
        top = min(int(body.get("top_logprobs") or 0), MOST_TOP)
        choice["logprobs"] = {"content": [_token(label, found[label], list(found.items())[:top])], "refusal": None}
    return _answer("chat.completion", name, [choice], [text])


def chunks(answer: Mapping[str, Any]) -> Iterator[str]:
    """The same as a stream of server-sent events."""
    (choice,) = answer["choices"]
    head = {key: answer[key] for key in ("id", "created", "model")} | {"object": "chat.completion.chunk"}
    deltas = [{"role": "assistant", "content": choice["message"]["content"]}, {}]
    for number, delta in enumerate(deltas):
        part: dict[str, Any] = {"index": 0, "delta": delta, "finish_reason": "stop" if number else None}
        part["logprobs"] = None if number else choice["logprobs"]
        yield f"data: {json.dumps(head | {'choices': [part]})}\n\n"
    yield "data: [DONE]\n\n"


def completion(models: Models, body: Mapping[str, Any]) -> dict[str, Any]:
    """`POST /v1/completions`, of one text or several."""
    name, prompt = _name(body), body.get("prompt")
    texts: Any = [prompt] if isinstance(prompt, str) else prompt
    if not isinstance(texts, list) or not texts or not all(isinstance(one, str) and one.strip() for one in texts):
        raise Refused(400, "invalid_prompt", "prompt: a text, or a list of texts.", "prompt")
    _only_one(body)
    if body.get("stream"):
        raise Refused(400, "unsupported_field", "stream: use chat.completions, which streams.", "stream")
    choices = []
    for index, found in enumerate(models.probabilities(name, [one.strip() for one in texts])):
        label = next(iter(found))
        choice: dict[str, Any] = {"index": index, "text": label, "finish_reason": "stop", "logprobs": None}
        if body.get("logprobs") is not None:
            top = {key: _log(value) for key, value in list(found.items())[: max(1, int(body["logprobs"]))]}
            choice["logprobs"] = {"tokens": [label], "token_logprobs": [_log(found[label])], "top_logprobs": [top]}
            choice["logprobs"]["text_offset"] = [0]
        choices.append(choice)
    return _answer("text_completion", name, choices, texts)


def _name(body: Mapping[str, Any]) -> str:
    name = body.get("model")
    if not isinstance(name, str):
        raise Refused(400, "invalid_model", "model: the name of a fine-tuned model.", "model")
    return name


def _only_one(body: Mapping[str, Any]) -> None:
    if body.get("n") not in (None, 1):
        raise Refused(400, "unsupported_field", "n: a classifier has one answer; leave it out.", "n")


def _answer(kind: str, model: str, choices: list[dict[str, Any]], texts: Sequence[str]) -> dict[str, Any]:
    read = sum(len(text.split()) for text in texts)  # words: what tokens the host made of them it does not say
    usage = {"prompt_tokens": read, "completion_tokens": len(choices), "total_tokens": read + len(choices)}
    head = {"id": f"chatcmpl-{uuid.uuid4().hex}", "object": kind, "created": int(time.time()), "model": model}
    return {**head, "choices": choices, "usage": usage}


def _log(probability: float) -> float:
    return math.log(max(probability, LEAST))


def _token(label: str, probability: float, top: Sequence[tuple[str, float]]) -> dict[str, Any]:
    likely = [{"token": name, "logprob": _log(value), "bytes": list(name.encode())} for name, value in top]
    return {"token": label, "logprob": _log(probability), "bytes": list(label.encode()), "top_logprobs": likely}
