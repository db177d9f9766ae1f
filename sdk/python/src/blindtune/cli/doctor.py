"""`blindtune doctor`: whether everything is there that a run needs, and what to do where it is not.

Owns: the checks. Must never: print a key, or change anything.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

from .._version import __version__
from .failures import DONE, FAILED
from .groups import Talk
from .hosts import pairs
from .options import API_KEY_VARIABLE, BASE_URL_VARIABLE, Hosts
from .tables import show

if TYPE_CHECKING:
    import httpx

TIMEOUT_S = 5.0
CLOCK_OFF_S = 60.0
LITTLE_BYTES, NO_BYTES = 2_000_000_000, 100_000_000
AT_HOME = ("localhost", "127.0.0.1", "::1")
EXTRAS = {
    "torch": "torch",
    "matplotlib": "plot",
    "tokenizers": "tokens",
    "pyarrow": "parquet",
    "openpyxl": "xlsx",
    "datasets": "datasets",
    "pandas": "pandas",
    "cryptography": "encryption",
    "dp_accounting": "dp",
}
"""Optional packages, and the extra that brings each."""


@dataclass(frozen=True)
class Check:
    """One thing that was looked at."""

    what: str
    result: Literal["ok", "warning", "failed"]
    found: str
    do: str = ""


def doctor(hosts: Hosts, talk: Talk) -> int:
    """Check hosts, keys, versions, clocks, models, disk and packages; say what to do about each that is not well."""
    found = [*_here(hosts), *_hosts(hosts)]
    show([asdict(check) for check in found], talk.as_json)
    return FAILED if any(check.result == "failed" for check in found) else DONE


def _here(hosts: Hosts) -> Iterator[Check]:
    yield Check("blindtune", "ok", f"{__version__}, Python {sys.version.split()[0]}")
    yield disk(_cache(hosts))
    missing = [name for name in EXTRAS if importlib.util.find_spec(name) is None]
    if missing:
        extras = ",".join(EXTRAS[name] for name in missing)
        do = f"only where a feature asks for one: pip install 'blindtune[{extras}]'"
        yield Check("optional packages", "warning", f"not installed: {', '.join(missing)}", do)
    else:
        yield Check("optional packages", "ok", "all installed")


def _cache(hosts: Hosts) -> Path:
    from ..features import FeatureStore

    return FeatureStore.of(hosts.features).folder


def disk(folder: Path) -> Check:
    """The space where hidden states are kept."""
    there = next((one for one in (folder, *folder.parents) if one.exists()), Path("/"))
    free = shutil.disk_usage(there).free
    said = f"{free / 1e9:,.1f} GB free for hidden states in {folder}"
    if free >= LITTLE_BYTES:
        return Check("disk", "ok", said)
    do = "`blindtune features clear`, or name a folder on another disk with --features"
    return Check("disk", "failed" if free < NO_BYTES else "warning", said, do)


def _hosts(hosts: Hosts) -> Iterator[Check]:
    from ..client import normalize_url

    for url, key in pairs(hosts):
        place = url or os.environ.get(BASE_URL_VARIABLE)
        if not place:
            yield Check("host", "failed", "none is named", f"pass --host or set {BASE_URL_VARIABLE}")
            continue
        yield from _host(normalize_url(place), key)


def _host(url: str, key: str | None) -> Iterator[Check]:
    import httpx

    headers = {"Authorization": f"Bearer {key}"} if key else {}
    try:
        answer = httpx.get(f"{url}fine_tuning/capabilities", headers=headers, timeout=TIMEOUT_S)
    except httpx.HTTPError as error:
        do = "is `blindtuned serve` running there, and is the address right?"
        yield Check(url, "failed", f"not reachable: {error or type(error).__name__}", do)
        return
    yield Check(url, "ok", "reachable")
    yield from transport(url)
    yield clock(answer.headers, time.time())
    yield from _answered(answer, key)


def transport(url: str) -> Iterator[Check]:
    """Whether texts travel in the clear."""
    parts = urlsplit(url)
    if parts.scheme == "http" and parts.hostname not in AT_HOME:
        yield Check("transport", "warning", "http: texts and the key can be read on the way", "use https://")


def clock(headers: Mapping[str, str], now: float) -> Check:
    """How far this clock is from the host's."""
    try:
        theirs = parsedate_to_datetime(headers["date"]).timestamp()
    except (KeyError, ValueError, TypeError):
        return Check("clock", "warning", "the host does not say its time")
    off = now - theirs
    if abs(off) <= CLOCK_OFF_S:
        return Check("clock", "ok", f"{abs(off):.0f} s from the host's")
    way = "ahead of" if off > 0 else "behind"
    return Check("clock", "warning", f"{abs(off):.0f} s {way} the host's", "set one of them: keys expire by the clock")


def _answered(answer: httpx.Response, key: str | None) -> Iterator[Check]:
    if answer.status_code in (401, 403):
        do = "make one with `blindtuned keys create`" if key else f"pass --api-key or set {API_KEY_VARIABLE}"
        yield Check("key", "failed", "refused" if key else "none is given", do)
        return
    try:
        body: dict[str, Any] = answer.json() if answer.is_success else {}
    except ValueError:
        body = {}
    if "models" not in body:
        do = "is this a blindtune host? `--host` takes its address, as http://host:8080"
        yield Check("host", "failed", f"answers HTTP {answer.status_code}, and not as a host does", do)
        return
    yield Check("key", "ok", "accepted")
    yield version(str(body.get("version") or "not said"))
    names = [str(model.get("id")) for model in body["models"]]
    if names:
        yield Check("models", "ok", f"{', '.join(names)} on {body.get('device') or 'its device'}")
    else:
        yield Check("models", "failed", "none", "whoever runs the host adds one with `blindtuned models add`")


def version(theirs: str) -> Check:
    """Whether host and package are of one release."""
    if theirs.split(".")[:2] == __version__.split(".")[:2]:
        return Check("version", "ok", f"host {theirs}, here {__version__}")
    return Check("version", "warning", f"host {theirs}, here {__version__}", "use the same release on both sides")
