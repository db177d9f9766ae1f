"""A plugin of pytest for portable.py: stops the run unless BLAS, numpy and threads are as the row says.

Owns: the comparison of what is wished (WISHED_CORE, WISHED_OFF, WISHED_THREADS) with what the libraries themselves say.
Must never: set anything; a run that only believes that it ran on another processor proves nothing.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

CHECKED = pytest.StashKey[bool]()
ALSO_CALLED = {"Prescott": ("Katmai",), "Zen": ("Haswell",)}
"""The first name that OpenBLAS finds for a set of kernels: the wheels of numpy and scipy have one set for Katmai to
Prescott, and for Zen they have Haswell's."""


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """Look once in each process, in its first test, when the fixtures of the session have set the threads."""
    if CHECKED not in item.config.stash:
        item.config.stash[CHECKED] = True
        wrong = differences()
        if wrong:
            item.session.shouldfail = "the setting is not in force"
            pytest.fail(f"not as wished: {'; '.join(wrong)}", pytrace=False)
    yield


def differences() -> list[str]:
    """What is not as wished."""
    import numpy
    import scipy.linalg  # noqa: F401
    from numpy._core._multiarray_umath import __cpu_features__ as features
    from threadpoolctl import threadpool_info

    core, threads = os.environ.get("WISHED_CORE"), int(os.environ["WISHED_THREADS"])
    pools = [pool for pool in threadpool_info() if pool["internal_api"] == "openblas"]
    wrong = [] if pools else ["no OpenBLAS is loaded"]
    for pool in pools:
        if core and pool["architecture"] not in (core, *ALSO_CALLED.get(core, ())):
            wrong.append(f"OpenBLAS {pool['version']} runs as {pool['architecture']}, not as {core}")
        if pool["num_threads"] != threads:
            wrong.append(f"OpenBLAS {pool['version']} has {pool['num_threads']} threads, not {threads}")
    off = os.environ.get("WISHED_OFF", "").split()
    wrong += [f"numpy {numpy.__version__} still uses {name}" for name in off if features.get(name)]
    return wrong
