"""`blindtune board`: run folders as a page on this machine.

Owns: its options, its address. Must never: listen beyond 127.0.0.1, or put the token where other accounts see it: the
arguments of a process.
"""

from __future__ import annotations

import html
import json
import secrets
import socket
import sys
import tempfile
import webbrowser
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from .failures import DONE, ArgumentError
from .groups import Talk
from .options import Hosts
from .reading import tell

HERE = "127.0.0.1"


@dataclass(frozen=True, kw_only=True)
class Shown:
    """What is shown, and where."""

    runs: Annotated[
        Path, typer.Argument(metavar="RUNS", help="a folder of run folders, a run folder, or a frontier's")
    ] = Path("runs")
    port: Annotated[int, typer.Option(help="port to listen at; 0 is any free one")] = 0
    open_page: Annotated[
        bool | None,
        typer.Option("--open/--no-open", help="open the page in a browser; default on a terminal", show_default=False),
    ] = None


def board(shown: Shown, hosts: Hosts, talk: Talk) -> int:
    """Show runs on a page of this machine: curves, leak against its limit, quality, and what was sent."""
    from ..extras import need

    uvicorn = need("uvicorn", "board", "blindtune board")
    need("starlette", "board", "blindtune board")
    from ..board.app import Board
    from ..board.hosts import Hosts as Where

    if not shown.runs.is_dir():
        raise ArgumentError(f"{shown.runs}: there is no such folder; name one with run folders in it")
    where = Where(tuple(hosts.hosts), tuple(hosts.keys or ()), hosts.features)
    listener, token = _listening(shown.port), secrets.token_urlsafe(24)
    url = f"http://{HERE}:{listener.getsockname()[1]}/#token={token}"
    print(json.dumps({"url": url}) if talk.as_json else url, flush=True)
    tell("the page reads run folders on this machine; keep its address to yourself; Ctrl-C ends it")
    level = "info" if talk.verbose else "warning"
    config = uvicorn.Config(Board(shown.runs, token, where).app(), log_level=level, server_header=False)
    wanted = sys.stdout.isatty() if shown.open_page is None else shown.open_page
    with tempfile.TemporaryDirectory(prefix="blindtune-board-") as private:
        if wanted:
            webbrowser.open(_door(Path(private), url).as_uri())
        with suppress(KeyboardInterrupt):  # how a board is ended
            uvicorn.Server(config).run(sockets=[listener])
    return DONE


def _listening(port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    if sys.platform != "win32":  # where it would let a second program take the same port
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((HERE, port))
        listener.listen()  # who is told the address finds it open, though the server is still to start
    except OverflowError:
        raise ArgumentError(f"--port {port}: not a port") from None
    except OSError as error:
        raise ArgumentError(f"--port {port}: {error.strerror}; leave --port out for a free one") from None
    return listener


def _door(folder: Path, url: str) -> Path:
    """A file that this account alone may read, and that leads to the page."""
    door = folder / "open.html"
    door.write_text(f'<!doctype html><meta http-equiv="refresh" content="0; url={html.escape(url)}">', encoding="utf-8")
    return door
