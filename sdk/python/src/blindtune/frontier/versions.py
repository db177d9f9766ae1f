"""With what a point was measured: package, host, machine, numerical libraries.

Owns: the names and versions in a report. Must never: name a user, a path or an address.
"""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from .._version import __version__
from ..client import Client
from ..errors import BlindtuneError

PACKAGES = ("numpy", "scipy", "scikit-learn")


def versions(clients: Sequence[Client]) -> dict[str, str]:
    """By name; hosts that do not tell are `unknown`."""
    hosts = sorted({host_version(client) for client in clients})
    found = {"blindtune": package_version("blindtune"), "host": ", ".join(hosts), "python": platform.python_version()}
    return found | {name: package_version(name) for name in PACKAGES} | {"machine": machine()}


def host_version(client: Client) -> str:
    """What the host's `/healthz` says."""
    parts = urlsplit(client.base_url)
    root = parts.path.rstrip("/").removesuffix("/v1")
    try:
        body = json.loads(client.request("GET", urlunsplit((parts.scheme, parts.netloc, f"{root}/healthz", "", ""))))
        return str(body["version"])
    except (BlindtuneError, ValueError, KeyError, TypeError):
        return "unknown"


def package_version(name: str) -> str:
    """The installed version, or this package's own where it runs from its source tree."""
    try:
        return version(name)
    except PackageNotFoundError:
        return __version__ if name == "blindtune" else "unknown"


def machine() -> str:
    """System, processor and cores of this side."""
    cores = f"{os.cpu_count() or 1} cores"
    return ", ".join(part for part in (platform.system(), platform.machine(), _processor(), cores) if part)


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return platform.processor()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def without_credentials(url: str) -> str:
    """An address as it may be shown: no user, no password, no query."""
    parts = urlsplit(url if "://" in url else f"http://{url}")
    host = parts.hostname or ""
    netloc = f"[{host}]" if ":" in host else host
    return urlunsplit((parts.scheme, netloc + (f":{parts.port}" if parts.port else ""), parts.path, "", ""))
