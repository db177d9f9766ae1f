"""The toy backbone's hidden states, by calls and by jobs of method `features`, which are done when they are made."""

from __future__ import annotations

import base64
import zlib
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from safetensors.numpy import save

HIDDEN, LEVELS = 16, 3
SHARD_ROWS, SAMPLE = 40, 2048
States = Callable[[list[Any]], dict[str, np.ndarray]]
"""Texts to `hidden.{level}` [T, H] in float32, and `lengths` [N]."""


class Refusal(Exception):
    def __init__(self, status: int, code: str, param: str | None = None, **more: Any) -> None:
        self.status = status
        self.body = {"error": {"message": code, "type": "x", "param": param, "code": code, **more}}


class FeatureJobs:
    """The jobs, and their files in `results`. `dim` is the most features of a level that are given; 0 is no bound."""

    def __init__(self) -> None:
        self.results: dict[str, bytes] = {}
        self.jobs: dict[str, dict[str, Any]] = {}
        self.transforms: dict[str, dict[str, np.ndarray]] = {}
        self.dim = 0
        self.max_words = 0

    def create(self, name: str, body: dict, texts: list[Any]) -> dict[str, Any]:
        """A job that has succeeded."""
        settings = body["method"]["features"]
        width = (settings.get("project") or {"dim": HIDDEN})["dim"]
        self._check_dim(width, "method.features.project", "ask for a projection.")

        def of(some: list[Any]) -> dict[str, np.ndarray]:
            return states(some, settings["layers"], settings["tokens"])

        self.transforms[name] = fitted(texts, settings, of)
        made = contents(texts, settings["dtype"], self.transforms[name], of, self.max_words)
        names = [f"{name}-file-{k}" for k in range(len(made))]
        self.results |= dict(zip(names, made, strict=True))
        self.jobs[name] = {"id": name, "object": "fine_tuning.job", "status": "succeeded", "model": "toy"}
        self.jobs[name] |= {"method": body["method"], "protection": body["protection"], "result_files": names}
        return self.jobs[name]

    def hidden_states(self, request: dict) -> bytes:
        """`/v1/activations` for hidden states, or for the features of a job."""
        if "like" in request:
            return self._like(request["input"], request["like"])
        self._check_dim(HIDDEN, "layers", "name a features job with a projection in like.")
        found = states(request["input"], request["layers"], request["tokens"])
        count = int(states(request["input"], 0)["lengths"].sum())
        return encoded(transformed(found, {}, request["dtype"]), {"prompt_tokens": str(count)})

    def _like(self, texts: list[Any], name: str) -> bytes:
        job = self.jobs.get(name)
        if job is None:
            raise Refusal(404, "not_found", "like")
        if self.transforms[name] and job["result_files"][0] not in self.results:
            raise Refusal(409, "file_deleted", "like")
        settings = job["method"]["features"]
        found = states(texts, settings["layers"], settings["tokens"])
        return encoded(transformed(found, self.transforms[name], settings["dtype"]))

    def on_file(self, files: dict[str, Any], method: str, name: str) -> tuple[Any, bytes | None]:
        """Read a result, or delete that or an upload."""
        of = self.results if name in self.results else files
        if name not in of:
            raise Refusal(404, "not_found")
        if method == "DELETE":
            del of[name]
            return {"id": name, "deleted": True}, None
        return None, self.results[name]

    def capabilities(self) -> dict[str, Any]:
        """What is asked of them here."""
        models = [{"id": "toy", "levels": LEVELS, "hidden_size": HIDDEN, "default_pooling": "mean"}]
        return {"models": models, "limits": {"feature_dim": self.dim, "feature_levels": 0}}

    def _check_dim(self, dim: int, param: str, advice: str) -> None:
        if self.dim and dim > self.dim:
            refusal = Refusal(400, "invalid_setting", param)
            most = f"at most {self.dim} features of a level (limits.feature_dim), not {dim}"
            refusal.body["error"]["message"] = f"{param}: this host gives {most}: {advice}"
            raise refusal


@cache
def word_vector(word: str) -> np.ndarray:
    return np.random.default_rng(zlib.crc32(word.encode())).normal(size=HIDDEN)


PICKS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "cls": lambda words: words[0],
    "last": lambda words: words[-1],
    "max": lambda words: words.max(axis=0),
    "mean": lambda words: words.mean(axis=0),
}


def long_texts(texts: list[Any], most: int) -> list[int]:
    """Which are of more words than a model takes; 0 is no bound."""
    words = [len((text if isinstance(text, str) else " ".join(text)).split()) for text in texts]
    return [k for k, count in enumerate(words) if 0 < most < count]


def refuse_long(texts: list[Any], most: int) -> None:
    """As a host does outside of jobs."""
    if found := long_texts(texts, most):
        refusal = Refusal(422, "invalid_input", f"input[{found[0]}]")
        refusal.body["error"]["message"] = f"is longer than the {most} tokens that the model takes."
        raise refusal


def states(texts: list[Any], layers: Any, tokens: Any = "all") -> dict[str, np.ndarray]:
    """A vector for each word, its entries turned on by one a level; and how many words, or what is picked of them."""
    whole = [text if isinstance(text, str) else " ".join(text) for text in texts]
    words = np.stack([word_vector(word) for text in whole for word in text.split()]).astype(np.float32)
    chosen = range(LEVELS) if layers == "all" else np.atleast_1d(layers)
    found = {f"hidden.{layer}": np.roll(words, int(layer), axis=1) for layer in chosen}
    lengths = np.array([len(text.split()) for text in whole], dtype=np.int64)
    if tokens == "all":
        return found | {"lengths": lengths}
    ends = np.cumsum(lengths)[:-1]
    picks = [tokens] if isinstance(tokens, str) else tokens
    return {
        f"{name}.{pick}": np.stack([PICKS[pick](words) for words in np.split(level, ends)])
        for name, level in found.items()
        for pick in picks
    }


def contents(texts: list[Any], dtype: str, transform: dict[str, np.ndarray], of: States, most: int) -> list[bytes]:
    """The files of a job: the transform where there is one, and shards."""
    made = [encoded(transform)] if transform else []
    for first in range(0, len(texts), SHARD_ROWS):
        some = texts[first : first + SHARD_ROWS]
        about = {"first_row": str(first), "rows": str(len(some)), "truncated": str(len(long_texts(some, most)))}
        made.append(encoded(transformed(of(some), transform, dtype), about))
    return made


def fitted(texts: list[Any], settings: dict[str, Any], of: States) -> dict[str, np.ndarray]:
    """Projection and scales from a sample of the job's rows; empty where none is asked for."""
    project, found = settings.get("project"), {}
    for name, x in of(texts[:: max(1, len(texts) // SAMPLE)]).items():
        if name == "lengths":
            continue
        level = name.removeprefix("hidden.")
        if project is not None:
            mean, components = _directions(x, project)
            found |= {f"mean.{level}": mean, f"components.{level}": components}
            x = (x - mean) @ components
        if settings["dtype"] == "int8":
            found[f"scale.{level}"] = (np.maximum(np.abs(x).max(axis=0), 1e-6) / 127).astype(np.float32)
    return found


def _directions(x: np.ndarray, project: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    if project["kind"] == "pca":
        mean = x.mean(axis=0)
        wide = np.linalg.eigh(np.cov((x - mean).T))[1][:, ::-1]
    else:
        mean = np.zeros(x.shape[1])
        wide = np.linalg.qr(np.random.default_rng(project["seed"]).normal(size=(x.shape[1],) * 2))[0]
    return mean.astype(np.float32), np.ascontiguousarray(wide[:, : project["dim"]], dtype=np.float32)


def transformed(found: dict[str, np.ndarray], transform: dict[str, np.ndarray], dtype: str) -> dict[str, np.ndarray]:
    """States as a job gives them, each with its scale in int8."""
    given = {}
    for name, x in found.items():
        level = name.removeprefix("hidden.")
        if f"components.{level}" in transform:
            x = (x - transform[f"mean.{level}"]) @ transform[f"components.{level}"]
        if f"scale.{level}" in transform:
            scale = given[f"{name}.scale"] = transform[f"scale.{level}"]
            x = np.clip(np.round(x / scale), -127, 127)
        given[name] = x if name == "lengths" else x.astype(dtype)
    return given


def embeddings(vectors: np.ndarray, texts: list[str]) -> dict[str, Any]:
    """The answer of `/v1/embeddings`."""
    rows = [base64.b64encode(vector.astype("<f4").tobytes()).decode() for vector in vectors]
    data = [{"object": "embedding", "index": k, "embedding": row} for k, row in enumerate(rows)]
    tokens = sum(len(text.split()) for text in texts)
    return {"object": "list", "model": "toy", "data": data, "usage": {"prompt_tokens": tokens, "total_tokens": tokens}}


def encoded(tensors: dict[str, np.ndarray], metadata: dict[str, str] | None = None) -> bytes:
    """Safetensors."""
    return save({name: np.ascontiguousarray(value) for name, value in tensors.items()}, metadata=metadata or None)
