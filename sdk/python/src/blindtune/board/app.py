"""The board's HTTP: the page, and what it asks for.

Owns: routes and their answers. Must never: make a path of a name in a request; runs are looked up among those that
were found.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from .._version import __version__
from ..errors import ApiConnectionError, ApiError, BlindtuneError
from ..training.card_facts import of_folder
from ..training.model_card import model_card
from ..training.run_folder import RunFolder
from . import points, quality
from .folders import Found, find
from .guard import API, Guard, refusal
from .hosts import Hosts
from .runs import Folders
from .sent import compared, sent
from .work import Work, Works

Answer = Callable[[Found], Any]
PAGE = Path(__file__).parent / "page"


class Refused(Exception):
    """A request that cannot be answered, and why."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status, self.code = status, code


class Board:
    """Routes over a folder of runs."""

    def __init__(self, root: Path, token: str, hosts: Hosts | None = None) -> None:
        self.root, self.token, self.hosts = root.resolve(), token, hosts or Hosts()
        self.folders, self.works = Folders(), Works()

    def app(self) -> Guard:
        """The application."""
        routes: list[Any] = [
            Route(f"{API}runs", _told(self.list_runs)),
            Route(f"{API}points", _told(self.get_points)),
            Route(f"{API}run", self._of_run(self.folders.run)),
            Route(f"{API}run/sent", self._of_run(lambda found: sent(found.path))),
            Route(f"{API}run/card", self._of_run(lambda found: {"card": model_card(of_folder(found.path))})),
            Route(f"{API}run/ledger", self._of_run(self._compare), methods=["POST"]),
            Route(f"{API}run/quality", self._of_run(self._quality)),
            Route(f"{API}run/quality", _told(self.measure), methods=["POST"]),
            Route(f"{API}run/try", _told(self.try_text), methods=["POST"]),
            Route("/", _page),
            Mount("/assets", StaticFiles(directory=PAGE / "assets", check_dir=False)),
        ]
        return Guard(Starlette(routes=routes, exception_handlers={HTTPException: _no_route}), self.token)

    async def list_runs(self, _request: Request) -> Response:
        """Every run below the folder, the one that changed last first."""
        return JSONResponse(await run_in_threadpool(self._list))

    def _list(self) -> dict[str, Any]:
        runs = [self.folders.row(one) for one in find(self.root) if one.kind != "frontier"]
        runs.sort(key=lambda row: (row["state"] != "running", -(row.get("changed_at") or 0.0)))
        return {"root": str(self.root), "blindtune": __version__, "runs": runs}

    async def get_points(self, _request: Request) -> Response:
        """Leak against accuracy."""
        return JSONResponse(await run_in_threadpool(lambda: points.compared(find(self.root), self.folders)))

    async def measure(self, request: Request) -> Response:
        """Begin to evaluate a run on the rows of a file; `GET` tells how far it is."""
        body, found = await _body(request), await run_in_threadpool(self._found, request)
        data = _text(body, "data")
        if not data:
            raise Refused(400, "no_data", "name a file with labelled rows")
        columns = {name: _text(body, f"{name}_column") or None for name in ("text", "text_pair", "label")}
        if (await run_in_threadpool(self.folders.row, found))["state"] == "running":
            raise Refused(409, "running", "the run is under way: evaluate it when it is finished")
        work = self.works.begin(found.path, lambda: quality.measure(found.path, self.hosts, data, columns), explained)
        if work is None:
            raise Refused(409, "busy", "an evaluation of this run is under way already")
        return JSONResponse(work.told(), 202)

    async def try_text(self, request: Request) -> Response:
        """What the run says of a text."""
        body, found = await _body(request), await run_in_threadpool(self._found, request)
        text, pair = _text(body, "text"), _text(body, "pair")
        if not text.strip():
            raise Refused(400, "no_text", "write a text")
        asked = (text, pair) if pair else text
        return JSONResponse(await run_in_threadpool(quality.tried, found.path, self.hosts, asked))

    # Parts.

    def _of_run(self, answer: Answer) -> Callable[[Request], Awaitable[Response]]:
        """A route about the run that the query names."""

        async def do(request: Request) -> Response:
            return JSONResponse(await run_in_threadpool(lambda: answer(self._found(request))))

        return _told(do)

    def _found(self, request: Request) -> Found:
        name = request.query_params.get("name", "")
        known = {one.name: one for one in find(self.root) if one.kind != "frontier"}
        if name not in known:
            raise Refused(404, "no_such_run", f"there is no run {name!r} in {self.root}")
        return known[name]

    def _compare(self, found: Found) -> Mapping[str, Any]:
        return compared(found.path, self.hosts.clients(RunFolder(found.path)))

    def _quality(self, found: Found) -> dict[str, Any]:
        work = self.works.of(found.path) or Work()
        return work.told() | {"here": str(Path.cwd()), "result": quality.known(found.path)}


def _told(do: Callable[[Request], Awaitable[Response]]) -> Callable[[Request], Awaitable[Response]]:
    """With refusals in the form that the page reads."""

    async def handler(request: Request) -> Response:
        try:
            return await do(request)
        except Refused as refused:
            return refusal(refused.status, refused.code, str(refused))
        except (BlindtuneError, OSError, ValueError) as error:
            code = "host" if isinstance(error, ApiConnectionError | ApiError) else "run"
            return refusal(502 if code == "host" else 409, code, explained(error))

    return handler


def explained(error: Exception) -> str:
    """In words, for the page."""
    if isinstance(error, BlindtuneError):
        return str(error)
    if isinstance(error, OSError):
        return f"{error.filename or 'a file'}: {error.strerror or type(error).__name__}"
    return f"what was read is damaged: {type(error).__name__}: {error}"


async def _body(request: Request) -> Mapping[str, Any]:
    body = await request.json()
    if not isinstance(body, dict):
        raise Refused(400, "not_an_object", "the body is not a JSON object")
    return body


def _text(body: Mapping[str, Any], name: str) -> str:
    value = body.get(name) or ""
    if not isinstance(value, str):
        raise Refused(400, "not_a_text", f"{name}: a text")
    return value


async def _page(_request: Request) -> Response:
    return FileResponse(PAGE / "board.html", headers={"cache-control": "no-cache"})


async def _no_route(_request: Request, error: Exception) -> Response:
    return refusal(getattr(error, "status_code", 500), "unknown_url", "there is no such address here")
