"""The board's HTTP: the page, and what it asks for.

Owns: routes and their answers. Must never: make a path of a name in a request; runs are looked up among those that
were found.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
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
from .folders import Found, find
from .guard import API, Guard, refusal
from .runs import Folders

Handler = Callable[[Request], Awaitable[Response]]
PAGE = Path(__file__).parent / "page"


class Refused(Exception):
    """A request that cannot be answered, and why."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status, self.code = status, code


class Board:
    """Routes over a folder of runs."""

    def __init__(self, root: Path, token: str) -> None:
        self.root, self.token, self.folders = root.resolve(), token, Folders()

    def app(self) -> Guard:
        """The application."""
        routes: list[Any] = [Route(f"{API}{path}", _told(do), methods=[verb]) for verb, path, do in self._routes()]
        routes.append(Route("/", _page))
        routes.append(Mount("/assets", StaticFiles(directory=PAGE / "assets", check_dir=False)))
        return Guard(Starlette(routes=routes, exception_handlers={HTTPException: _no_route}), self.token)

    def _routes(self) -> list[tuple[str, str, Handler]]:
        return [
            ("GET", "runs", self.list_runs),
            ("GET", "runs/{name:path}", self.get_run),
        ]

    async def list_runs(self, _request: Request) -> Response:
        """Every run below the folder, the one that changed last first."""
        return JSONResponse(await run_in_threadpool(self._list))

    def _list(self) -> dict[str, Any]:
        runs = [self.folders.row(one) for one in find(self.root) if one.kind != "frontier"]
        runs.sort(key=lambda row: (row["state"] != "running", -(row.get("changed_at") or 0.0)))
        return {"root": str(self.root), "blindtune": __version__, "runs": runs}

    async def get_run(self, request: Request) -> Response:
        """Everything about one run."""
        return JSONResponse(await run_in_threadpool(lambda: self.folders.run(self._found(request))))

    def _found(self, request: Request) -> Found:
        name = request.path_params["name"]
        known = {one.name: one for one in find(self.root) if one.kind != "frontier"}
        if name not in known:
            raise Refused(404, "no_such_run", f"there is no run {name!r} below {self.root}")
        return known[name]


def _told(do: Handler) -> Handler:
    """With refusals in the form that the page reads."""

    async def handler(request: Request) -> Response:
        try:
            return await do(request)
        except Refused as refused:
            return refusal(refused.status, refused.code, str(refused))

    return handler


async def _page(_request: Request) -> Response:
    return FileResponse(PAGE / "board.html", headers={"cache-control": "no-cache"})


async def _no_route(_request: Request, error: Exception) -> Response:
    status = getattr(error, "status_code", 500)
    return refusal(status, "unknown_url", "there is no such address here")
