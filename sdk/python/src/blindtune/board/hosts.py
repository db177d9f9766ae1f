"""The hosts of a run, for what a user asks of them on the page.

Owns: which address and which key a request of the board goes by. Must never: show a key, or ask by itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ..client import Client, RetryPolicy, normalize_url
from ..errors import RunError
from ..training.run_folder import RunFolder
from ..training.trainer import Tuner

PATIENCE_S = 5.0
"""Who pressed a button waits for the answer."""


@dataclass(frozen=True)
class Hosts:
    """As the command line names them. `urls` stand in for a run's own where they are as many."""

    urls: tuple[str, ...] = ()
    keys: tuple[str, ...] = field(default=(), repr=False)
    """One for all, or one for each of `urls`."""
    features: Path | None = None

    def __post_init__(self) -> None:
        if len(self.keys) > 1 and len(self.keys) != len(self.urls):
            raise RunError(
                f"{len(self.keys)} keys for {len(self.urls)} hosts: one serves all, or each --host has its own"
            )

    def clients(self, folder: RunFolder) -> list[Client]:
        """One for each host of a run, in their order."""
        known = [str(host["url"]) for host in (folder.about() or {}).get("hosts", ())]
        urls = self.urls if len(self.urls) == len(known) else known
        retry = RetryPolicy(patience_s=PATIENCE_S)
        return [Client(url, self._key(url), retry=retry) for url in urls]

    def tuner(self, folder: RunFolder) -> Tuner:
        """The run, taken up, to predict with."""
        return Tuner.load(folder.path, self.clients(folder), features=self.features, progress=False)

    def _key(self, url: str) -> str | None:
        """None leaves it to the environment."""
        by_url = dict(zip(map(normalize_url, self.urls), self._each(self.keys), strict=False))
        return by_url.get(normalize_url(url), self.keys[0] if len(self.keys) == 1 else None)

    def _each(self, keys: Sequence[str]) -> Sequence[str]:
        return keys if len(keys) != 1 else [keys[0]] * len(self.urls)
