"""Fixtures: toy hosts, and real ones where BLINDTUNE_BIN names a host."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from fake_host import FakeHost
from real_host import RealHost, new_host
from threadpoolctl import threadpool_limits

from blindtune.data import Dataset
from blindtune.private.secret import SecretStream
from blindtune.training.run_folder import RunFolder

GOOD = ["good", "great", "fine", "lovely", "warm", "bright", "clever", "moving"]
BAD = ["bad", "awful", "dull", "bleak", "cold", "dreary", "clumsy", "hollow"]
FILLER = ["the", "a", "film", "plot", "actor", "scene", "music", "story", "with", "and", "of"]


@pytest.fixture(autouse=True, scope="session")
def few_threads() -> Iterator[None]:
    """Spinning BLAS and OpenMP threads make small problems slow on a busy machine; test-portable asks for two."""
    with threadpool_limits(int(os.environ.get("BLINDTUNE_TEST_THREADS", "1"))):
        yield


@pytest.fixture(autouse=True)
def own_features(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What one test keeps of hidden states, no other finds."""
    monkeypatch.setenv("BLINDTUNE_FEATURES", str(tmp_path / "features"))


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


@pytest.fixture(scope="session")
def hosts() -> Iterator[list[RealHost]]:
    """Two hosts for all tests that leave them alive."""
    with (
        tempfile.TemporaryDirectory(prefix="blindtune-sdk-") as a,
        tempfile.TemporaryDirectory(prefix="blindtune-sdk-") as b,
    ):
        made = [new_host(Path(a))]
        made.append(new_host(Path(b)))
        try:
            yield made
        finally:
            for host in made:
                host.stop()


@pytest.fixture
def own_host() -> Iterator[RealHost]:
    """A host that a test may kill."""
    with tempfile.TemporaryDirectory(prefix="blindtune-sdk-") as folder:
        host = new_host(Path(folder))
        try:
            yield host
        finally:
            host.stop()


@pytest.fixture
def secret() -> SecretStream:
    return SecretStream(b"a secret for tests")


def same_secret(folder: Path) -> Path:
    """A run folder under one secret, for what another secret may decide otherwise."""
    RunFolder(folder).write("secret", b"5e" * 32)
    return folder


def sentiment(count: int, seed: int = 0) -> Dataset:
    """Toy sentences whose label depends on two of their words; sorted by label, as data files often are."""
    rng = np.random.default_rng(seed)
    labels = np.sort(rng.integers(0, 2, count))
    texts = []
    for label in labels:
        words = [*rng.choice(GOOD if label else BAD, 2), *rng.choice(FILLER, rng.integers(1, 6))]
        texts.append(" ".join(rng.permutation(words)))
    return Dataset(tuple(texts), labels.astype(np.int64), ("negative", "positive"))
