"""`blindtune gateway`: OpenAI's fine-tuning API, in this house.

Owns: its options. Must never: listen beyond this machine without a key.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import typer

from .failures import DONE, ArgumentError
from .groups import Talk
from .options import BASE_URL_VARIABLE, Hosts
from .reading import tell

KEY_VARIABLE = "BLINDTUNE_GATEWAY_KEY"
HERE = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True, kw_only=True)
class Serve:
    """Where it listens, and what it trains."""

    model: Annotated[str, typer.Option(help="the host's model that is fine-tuned, see `blindtune models`")]
    state: Annotated[Path, typer.Option(metavar="DIR", help="where files, labels and models stay")] = Path("gateway")
    listen: Annotated[str, typer.Option(metavar="ADDRESS", help="address to listen at")] = "127.0.0.1"
    port: Annotated[int, typer.Option(help="port to listen at")] = 8090
    accept: Annotated[
        Literal["blind", "bounded", "hurdle"],
        typer.Option(help="the weakest class of protection that may be tried where side stays below --wanted"),
    ] = "blind"
    wanted: Annotated[float | None, typer.Option(metavar="SCORE", help="score asked for on rows held out")] = None


def gateway(serve: Serve, hosts: Hosts, talk: Talk) -> int:
    """Serve OpenAI's fine-tuning API here: labels stay in this house, hosts get texts alone."""
    from ..extras import need

    uvicorn = need("uvicorn", "gateway", "blindtune gateway")
    need("starlette", "gateway", "blindtune gateway")
    need("python_multipart", "gateway", "blindtune gateway")
    from ..gateway.app import Gateway
    from ..gateway.training import Hosts as Where

    key = os.environ.get(KEY_VARIABLE) or None
    if key is None and serve.listen not in HERE:
        raise ArgumentError(f"--listen {serve.listen}: others could read the labels; set {KEY_VARIABLE} to a key")
    urls = hosts.hosts or [url for url in [os.environ.get(BASE_URL_VARIABLE)] if url]
    if not urls:
        raise ArgumentError(f"no host: pass --host or set {BASE_URL_VARIABLE}")
    where = Where(serve.model, urls, hosts.keys, serve.accept, serve.wanted, hosts.features)
    tell(f"OpenAI's API for classification at http://{serve.listen}:{serve.port}/v1, labels in {serve.state.resolve()}")
    level = "info" if talk.verbose else "warning"
    uvicorn.run(Gateway(serve.state, where, key).app(), host=serve.listen, port=serve.port, log_level=level)
    return DONE
