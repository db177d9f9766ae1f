"""Asks a host for the hidden states of texts, every text once and in the order given, and keeps them in a folder.

Owns: the requests and the files. Must never: skip, repeat or reorder a text by anything but its place: a host that saw
fewer texts of one kind would learn something.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import numpy as np
from tqdm import tqdm

from ..arrays import decode, encode
from ..client import Client
from ..client.step_calls import Text
from ..data.taps import Taps

KEPT = np.float16
"""Half precision: hidden states are standardised before a network reads them, and need no more."""


def download_taps(
    client: Client, model: str, chunks: Sequence[Sequence[Text]], folder: Path, progress: bool = False
) -> Taps:
    """The taps of these texts, a call for each chunk. Answers are kept in `folder`; what is there is not asked again.

    The taps are the tokens of the last layer, which every host gives by `/v1/activations` with pooling `none`.
    """
    parts = []
    with tqdm(total=sum(map(len, chunks)), disable=None if progress else True, unit="text", desc="features") as bar:
        for chunk in chunks:
            path = folder / f"{_digest(client, model, chunk)}.safetensors"
            parts.append(_kept(path) if path.exists() else _asked(client, model, chunk, path))
            bar.update(len(chunk))
    return Taps.joined(parts)


def _asked(client: Client, model: str, chunk: Sequence[Text], path: Path) -> Taps:
    tensors = client.activations.create(model, cast("Sequence[str]", chunk), pooling="none").tensors
    taps = Taps.of([np.asarray(tensors["h.base"], dtype=KEPT)], np.asarray(tensors["lengths"], dtype=np.int64))
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    partial = path.with_suffix(".partial")
    partial.write_bytes(encode({"level.0": taps.levels[0], "lengths": np.diff(taps.offsets)}))
    partial.replace(path)
    return taps


def _kept(path: Path) -> Taps:
    arrays, _ = decode(path.read_bytes())
    return Taps.of([arrays["level.0"]], arrays["lengths"])


def _digest(client: Client, model: str, chunk: Sequence[Text]) -> str:
    asked = json.dumps([client.base_url, model, chunk], ensure_ascii=False)
    return hashlib.sha256(asked.encode()).hexdigest()[:32]
