"""A real host for all calls, two projects or one of a test's own, and coroutines as tests."""

from __future__ import annotations

import asyncio
import inspect
import itertools
from collections.abc import Iterator

import openai
import pytest
from bare_client import BareClient
from desk import Desk
from house import KEY, shared_gateway
from shared_host import shared_host
from tiny_host import TinyHost, running_host

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
    with shared_host() as found:
        yield found


@pytest.fixture(scope="session")
def narrow() -> Iterator[TinyHost]:
    """A host of this version's own, for one request at a time; it may be ended and started again."""
    with running_host({"BLINDTUNE_SERVER__MAX_REQUESTS_IN_FLIGHT": "1"}) as started:
        yield started


@pytest.fixture(scope="session")
def shared(host: TinyHost) -> dict[str, str]:
    return {project: host.key(project) for project in map(project_of, ("sync", "async"))}


@pytest.fixture(scope="session")
def admins(host: TinyHost) -> dict[str, str]:
    return {project: host.key(project, "--scopes", "admin") for project in map(project_of, ("sync", "async"))}


@pytest.fixture
def admin(desk: Desk, admins: dict[str, str]) -> BareClient:
    """Makes keys for the project that tests share."""
    return BareClient(desk.url, admins[desk.project])


@pytest.fixture(params=["sync", "async"])
def desk(host: TinyHost, shared: dict[str, str], request: pytest.FixtureRequest) -> Desk:
    kind, project = request.param, project_of(request.param)
    if request.node.get_closest_marker("own_project") is None:
        return Desk(kind, host.url, project, shared[project])
    project = f"{project}-{next(NUMBERS)}"
    return Desk(kind, host.url, project, host.key(project))


@pytest.fixture(scope="session")
def gateway(host: TinyHost) -> Iterator[str]:
    """The address of a gateway in front of the host."""
    with shared_gateway(host) as url:
        yield url


@pytest.fixture(params=["sync", "async"])
def house(gateway: str, request: pytest.FixtureRequest) -> Desk:
    """The gateway in place of a host."""
    return Desk(request.param, gateway, project_of(request.param), KEY)


def project_of(kind: str) -> str:
    """Other versions have theirs on the same host."""
    return f"{kind}-{openai.__version__.replace('.', '-')}"


@pytest.fixture
def bare(desk: Desk) -> BareClient:
    return BareClient(desk.url, desk.key)
