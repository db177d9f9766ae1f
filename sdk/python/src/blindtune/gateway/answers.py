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
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import ApiConnectionError, BlindtuneError
from ..training.trainer import Tuner
from .errors import Refused, not_found, of_host
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
            tuner = self._loaded.pop(name, None)
        if tuner is not None:
            tuner.close()
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

    def lead(self, name: str) -> str:
        """What a model's completions begin with: a blank, where those that it was trained on did."""
        return str(self._job(name).get("completion_lead") or "")

    def close(self) -> None:
        """Let go of what models hold at hosts."""
        with self._lock:
            while self._loaded:
                self._loaded.popitem()[1].close()

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


Found = Sequence[Mapping[str, float]]
"""Of each text its labels with their probabilities, likeliest first."""


@dataclass(frozen=True)
class Endpoint:
    """A path that models answer: the texts that a body asks about, and the body of the answer."""

    texts: Callable[[Mapping[str, Any]], list[str]]
    answer: Callable[[Models, Mapping[str, Any], Found], dict[str, Any]]


def answer(models: Models, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
    """The answer to one call."""
    (found,) = answers(models, path, [body])
    if isinstance(found, Refused):
        raise found
    return found


def answers(models: Models, path: str, bodies: Sequence[Mapping[str, Any]]) -> list[dict[str, Any] | Refused]:
    """The answers to several; the texts for one model are asked for together."""
    endpoint = ENDPOINTS[path]
    asked: list[tuple[str, list[str]] | Refused] = [_asked(endpoint, body) for body in bodies]
    found: dict[int, list[dict[str, float]] | Refused] = {}
    for name in dict.fromkeys(one[0] for one in asked if not isinstance(one, Refused)):
        mine = {k: one[1] for k, one in enumerate(asked) if not isinstance(one, Refused) and one[0] == name}
        found |= _found(models, name, mine)
    made: list[dict[str, Any] | Refused] = []
    for k, one in enumerate(asked):
        labels = one if isinstance(one, Refused) else found[k]
        made.append(labels if isinstance(labels, Refused) else endpoint.answer(models, bodies[k], labels))
    return made


def _asked(endpoint: Endpoint, body: Mapping[str, Any]) -> tuple[str, list[str]] | Refused:
    try:
        name = body.get("model")
        if not isinstance(name, str):
            raise Refused(400, "invalid_model", "model: the name of a fine-tuned model.", "model")
        return name, endpoint.texts(body)
    except Refused as refused:
        return refused


def _found(models: Models, name: str, texts: Mapping[int, list[str]]) -> dict[int, list[dict[str, float]] | Refused]:
    """Probabilities by body. Where the host refuses a text of several bodies, each is asked for by itself."""
    try:
        flat = iter(models.probabilities(name, [text for mine in texts.values() for text in mine]))
        return {k: [next(flat) for _ in mine] for k, mine in texts.items()}
    except Refused as refused:
        return dict.fromkeys(texts, refused)
    except BlindtuneError as error:
        if len(texts) == 1 or isinstance(error, ApiConnectionError):
            return dict.fromkeys(texts, of_host(error))
    alone = [_found(models, name, {k: mine}) for k, mine in texts.items()]
    return {k: found for one in alone for k, found in one.items()}


def _chat_texts(body: Mapping[str, Any]) -> list[str]:
    _check_fields(body)
    return [text_of(body.get("messages"))]


def _chat(_models: Models, body: Mapping[str, Any], probabilities: Found) -> dict[str, Any]:
    (found,) = probabilities
    label = next(iter(found))
    message = {"role": "assistant", "content": label, "refusal": None}
    choice: dict[str, Any] = {"index": 0, "message": message, "finish_reason": "stop", "logprobs": None}
    if body.get("logprobs"):
        top = min(_count(body, "top_logprobs"), MOST_TOP)
        choice["logprobs"] = {"content": [_token(label, found[label], list(found.items())[:top])], "refusal": None}
    return _answer("chat.completion", body["model"], [choice], _chat_texts(body))


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


def _completion_texts(body: Mapping[str, Any]) -> list[str]:
    """Of one prompt or several."""
    prompt = body.get("prompt")
    texts: Any = [prompt] if isinstance(prompt, str) else prompt
    if not isinstance(texts, list) or not texts or not all(isinstance(one, str) and one.strip() for one in texts):
        raise Refused(400, "invalid_prompt", "prompt: a text, or a list of texts.", "prompt")
    _check_fields(body)
    for name, instead in (("stream", "use chat.completions, which streams"), ("echo", "the prompt is yours already")):
        if body.get(name):
            raise Refused(400, "unsupported_field", f"{name}: {instead}.", name)
    return [one.strip() for one in texts]


def _completion(models: Models, body: Mapping[str, Any], probabilities: Found) -> dict[str, Any]:
    choices, lead = [], models.lead(body["model"])
    for index, one in enumerate(probabilities):
        found = {lead + label: value for label, value in one.items()}
        label = next(iter(found))
        choice: dict[str, Any] = {"index": index, "text": label, "finish_reason": "stop", "logprobs": None}
        if body.get("logprobs") is not None:
            top = {key: _log(value) for key, value in list(found.items())[: max(1, _count(body, "logprobs"))]}
            choice["logprobs"] = {"tokens": [label], "token_logprobs": [_log(found[label])], "top_logprobs": [top]}
            choice["logprobs"]["text_offset"] = [0]
        choices.append(choice)
    return _answer("text_completion", body["model"], choices, _completion_texts(body))


ENDPOINTS = {
    "/v1/chat/completions": Endpoint(_chat_texts, _chat),
    "/v1/completions": Endpoint(_completion_texts, _completion),
}


def _check_fields(body: Mapping[str, Any]) -> None:
    for name in ("n", "best_of"):
        if body.get(name) not in (None, 1):
            raise Refused(400, "unsupported_field", f"{name}: a classifier has one answer; leave it out.", name)
    for name in ("logprobs", "top_logprobs"):
        _count(body, name)


def _count(body: Mapping[str, Any], name: str) -> int:
    """A number of labels that is asked for; `logprobs` of a chat is true or false."""
    value = body.get(name) or 0
    if not isinstance(value, int) or value < 0:
        raise Refused(400, "invalid_value", f"{name}: how many labels, 0 or more.", name)
    return value


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
