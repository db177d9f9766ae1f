"""Uses the installed SDK as somebody new to it would, outside the repository: see test-dist.sh."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import blindtune


async def lost() -> None:
    """The asynchronous client finds no host where there is none."""
    quick = blindtune.RetryPolicy(patience_s=0)
    async with blindtune.AsyncClient("http://127.0.0.1:9", "a key", retry=quick) as client:
        try:
            await client.models.retrieve("m")
        except blindtune.ApiConnectionError:
            return
    raise AssertionError("there was a host")


place = Path(blindtune.__file__).parent
assert place.is_relative_to(sys.prefix), f"not the installed package: {place}"
assert (place / "py.typed").is_file(), "it says that it has types"
assert list((place / "board/page/assets").glob("*.js")), "it has the board's page"
assert version("blindtune") == blindtune.__version__
with blindtune.Client("http://127.0.0.1:9", "a key") as client:
    assert repr(client) == "Client('http://127.0.0.1:9/v1/')"
asyncio.run(lost())
command = subprocess.run([Path(sys.prefix, "bin", "blindtune"), "--help"], capture_output=True, text=True)
assert command.returncode == 0 and "train" in command.stdout, command.stderr
print(f"{sys.argv[1]} on Python {sys.version.split()[0]}: installed and used")
