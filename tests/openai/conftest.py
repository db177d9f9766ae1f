"""A real host for all calls of a run, two projects or one of a test's own, and coroutines as tests."""

from __future__ import annotations

import asyncio
import inspect
import itertools
from collections.abc import Iterator

import pytest
from bare_client import BareClient
from desk import Desk
from tiny_host import TinyHost, running_host

# Webhooks are delivered on loopback here.
SETTINGS = {"BLINDTUNE_WEBHOOKS__ALLOW_PRIVATE": "true", "BLINDTUNE_WEBHOOKS__BACKOFF_SECS": "[1]"}
NUMBERS = itertools.count()


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    wanted = {name: pyfuncitem.funcargs[name] for name in inspect.signature(pyfuncitem.obj).parameters}
    asyncio.run(pyfuncitem.obj(**wanted))
    return True


@pytest.fixture(scope="session")
def host() -> Iterator[TinyHost]:
    with running_host(SETTINGS) as started:
        yield started


@pytest.fixture(scope="session")
def narrow() -> Iterator[TinyHost]:
    with running_host({"BLINDTUNE_SERVER__MAX_REQUESTS_IN_FLIGHT": "1"}) as started:
        yield started


@pytest.fixture(scope="session")
def shared(host: TinyHost) -> dict[str, str]:
    return {kind: host.key(kind) for kind in ("sync", "async")}


@pytest.fixture(params=["sync", "async"])
def desk(host: TinyHost, shared: dict[str, str], request: pytest.FixtureRequest) -> Desk:
    project = kind = request.param
    if request.node.get_closest_marker("own_project") is None:
        return Desk(kind, host.url, project, shared[kind])
    project = f"{kind}-{next(NUMBERS)}"
    return Desk(kind, host.url, project, host.key(project))


@pytest.fixture
def bare(desk: Desk) -> BareClient:
    return BareClient(desk.url, desk.key)
