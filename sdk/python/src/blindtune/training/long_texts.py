"""Texts that are longer than a backbone takes: counted at home before a host cuts them without a word.

Owns: the count, and the sentence. Must never: know a label, or let anything but texts decide what a host is asked.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import cast

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


def words(text: Text) -> int:
    """A word is one token or more, whatever the tokenizer."""
    return sum(len(part.split()) for part in ([text] if isinstance(text, str) else text))


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
                told = f"{len(surely)} of {len(texts)} texts are longer than the {limit} tokens that {self.model} takes"
                raise RunError(f"{told}; the first begins {_start(surely[0])}. Shorten them, or {CHUNK}")
            return
        if surely or perhaps:
            self._say(len(surely), len(perhaps), len(texts))

    def _say(self, surely: int, perhaps: int, count: int) -> None:
        takes = f"longer than the {self._limit} tokens that {self.model} takes"
        if surely:
            more = f", and {perhaps} more may be" if perhaps else ""
            found = f"{surely} of {count} texts are {takes}{more}"
        else:
            found = f"{perhaps} of {count} texts may be {takes}"
        told = f"{found}: of those a host reads the beginning and leaves the rest out. {REFUSE}; {CHUNK}"
        if told not in self._said:
            self._said.add(told)
            log.warning("%s", told)

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
