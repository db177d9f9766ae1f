"""Texts that are longer than a backbone takes: guessed at home before they travel, counted by the hosts that cut them.

Owns: the guess, and the sentences. Must never: know a label, or let anything but texts decide what a host is asked.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar, cast

from ..client import Client
from ..data import Text
from ..errors import ApiError, RunError
from ..features.pieces import too_long

log = logging.getLogger("blindtune")

SHORTEST = 48
"""Words up to which no backbone's limit is asked for; the smallest that is known takes 77 tokens."""
TOKENS_PER_WORD = 1.6
"""From so many on a text of fewer words than the limit may still be too long."""
SHOWN = 60

T = TypeVar("T")


def words(text: Text) -> int:
    """A word is one token or more, whatever the tokenizer."""
    return sum(len(part.split()) for part in ([text] if isinstance(text, str) else text))


class Counting(Protocol):
    """Hosts that say how many texts they cut: `HostGroup`."""

    @property
    def truncated(self) -> int | None:
        """Of all texts that were read so far; `None` where a host does not say."""

    def truncated_since(self, before: int | None) -> int | None:
        """Of those that were read since `truncated` was that."""


class LongTexts:
    """What becomes of long texts of one run under `max_length`: `truncate` says so, `error` refuses them."""

    def __init__(self, client: Client, model: str, max_length: str) -> None:
        self.client, self.model, self.max_length = client, model, max_length
        self._limit: int | None = None
        self._said: set[str] = set()

    def check(self, texts: Sequence[Text]) -> None:
        """Warn of long texts, once for the same count, or refuse them."""
        if all(words(text) <= SHORTEST for text in texts):
            return
        limit = self._known_limit()
        surely = [text for text in texts if words(text) > limit]
        perhaps = [text for text in texts if limit >= words(text) > limit / TOKENS_PER_WORD]
        if self.max_length == "error":
            surely += [text for text in perhaps if self._is_refused(text)]
            if surely:
                told = f"{len(surely)} of {len(texts)} texts are {self._longer}"
                raise RunError(f"{told}; the first begins {_start(surely[0])}. Shorten them, or {CHUNK}")
            return
        if surely or perhaps:
            self._say(len(surely), len(perhaps), len(texts))

    def watched(self, hosts: Counting, texts: Sequence[Text], read: Callable[[], T]) -> T:
        """What `read` gives. Of texts that hosts cut it warns, with their count; or long ones are refused before."""
        if self.max_length == "error":
            self.check(texts)
        before = hosts.truncated
        found = read()
        count = hosts.truncated_since(before)
        if count is None:
            self.check(texts)
        elif count:
            self._warn(f"{count} of {len(texts)} texts are {self._longer}")
        return found

    def after_training(self, count: int | None, rows: int) -> None:
        """Say that a training read texts without their end, where the guess before it found none that are long."""
        if count and not self._said:
            self._warn(f"some of {rows} texts are {self._longer} (read {count} times)")

    def _say(self, surely: int, perhaps: int, count: int) -> None:
        if surely:
            more = f", and {perhaps} more may be" if perhaps else ""
            found = f"{surely} of {count} texts are {self._longer}{more}"
        else:
            found = f"{perhaps} of {count} texts may be {self._longer}"
        self._warn(found)

    def _warn(self, found: str) -> None:
        told = f"{found}: of those a host reads the beginning and leaves the rest out. {REFUSE}; {CHUNK}"
        if told not in self._said:
            self._said.add(told)
            log.warning("%s", told)

    @property
    def _longer(self) -> str:
        return f"longer than the {self._known_limit()} tokens that {self.model} takes"

    def _known_limit(self) -> int:
        if self._limit is None:
            self._limit = self.client.models.retrieve(self.model).max_tokens
        return self._limit or 512

    def _is_refused(self, text: Text) -> bool:
        """Whether a host that cuts nothing refuses it."""
        try:
            self.client.activations.create(self.model, cast("Sequence[str]", [text]))
        except ApiError as error:
            if too_long(error) is None:
                raise
            return True
        return False


REFUSE = "max_length='error' refuses such texts"
CHUNK = "method side with max_length='chunk' reads them whole, in overlapping pieces"


def _start(text: Text) -> str:
    whole = text if isinstance(text, str) else " ".join(text)
    return repr(whole[:SHOWN] + ("..." if len(whole) > SHOWN else ""))
