"""Refusals in the envelope that OpenAI's clients read.

Owns: statuses and words. Must never: repeat a text or a label.
"""

from __future__ import annotations

from typing import Any

from ..errors import ApiError, BlindtuneError


class Refused(Exception):
    """An answer that is not 2xx: RFC 9110's status, and `error` as OpenAI's API has it."""

    def __init__(self, status: int, code: str, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.status, self.code, self.message, self.param = status, code, message, param

    def envelope(self) -> dict[str, Any]:
        """The body."""
        kinds = {401: "authentication_error", 404: "not_found_error"}
        kind = kinds.get(self.status, "invalid_request_error" if self.status < 500 else "server_error")
        return {"error": {"message": self.message, "type": kind, "param": self.param, "code": self.code}}


def not_found(what: str, name: str) -> Refused:
    """404 for something that is not here."""
    return Refused(404, f"{what}_not_found", f"There is no {what} {name!r} in this gateway.")


def of_host(error: BlindtuneError) -> Refused:
    """What a host could not do: 400 where it refused what was asked, as a text that is too long; 502 else."""
    if isinstance(error, ApiError) and error.status in (400, 413, 422):
        return Refused(400, "host_refused", f"The host refused it: {error}")
    return Refused(502, "host_failed", f"The host could not do it: {error}")
