"""Fixtures: toy hosts for every test, and the real binary where BLINDTUNE_BIN names it."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from fake_host import FakeHost
from threadpoolctl import threadpool_limits

from blindtune.client import Client
from blindtune.data import Dataset
from blindtune.secret import SecretStream

GOOD = ["good", "great", "fine", "lovely", "warm", "bright", "clever", "moving"]
BAD = ["bad", "awful", "dull", "bleak", "cold", "dreary", "clumsy", "hollow"]
FILLER = ["the", "a", "film", "plot", "actor", "scene", "music", "story", "with", "and", "of"]


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> Iterator[None]:
    """Spinning BLAS and OpenMP threads make small problems slow on a busy machine."""
    with threadpool_limits(1):
        yield


@pytest.fixture
def fake_host() -> Iterator[FakeHost]:
    host = FakeHost()
    yield host
    host.close()


@pytest.fixture
def fake_hosts() -> Iterator[Callable[[int], list[FakeHost]]]:
    made: list[FakeHost] = []

    def make(count: int) -> list[FakeHost]:
        made.extend(FakeHost() for _ in range(count))
        return made[-count:]

    yield make
    for host in made:
        host.close()


@pytest.fixture
def secret() -> SecretStream:
    return SecretStream(b"a secret for tests")


def sentiment(count: int, seed: int = 0) -> Dataset:
    """Toy sentences whose label depends on two of their words; sorted by label, as data files often are."""
    rng = np.random.default_rng(seed)
    labels = np.sort(rng.integers(0, 2, count))
    texts = []
    for label in labels:
        words = [*rng.choice(GOOD if label else BAD, 2), *rng.choice(FILLER, rng.integers(1, 6))]
        texts.append(" ".join(rng.permutation(words)))
    return Dataset(tuple(texts), labels.astype(np.int64), ("negative", "positive"))


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Client]:
    """The real host, started from BLINDTUNE_BIN with BLINDTUNE_TEST_KEY; skipped without."""
    binary = os.environ.get("BLINDTUNE_BIN")
    if not binary:
        pytest.skip("BLINDTUNE_BIN is not set")
    process = subprocess.Popen(
        [binary, "serve", "--listen", "127.0.0.1:0"], cwd=tmp_path, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        url = next(m[0] for line in process.stdout if (m := re.search(r"http://\S+", line)))
        client = Client(url, os.environ.get("BLINDTUNE_TEST_KEY"))
        yield client
        client.close()
    finally:
        process.terminate()
        process.wait(20)
