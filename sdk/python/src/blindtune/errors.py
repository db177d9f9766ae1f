"""What can go wrong when talking to a host, by HTTP status, with the parts of the error envelope.

Owns: the exception classes. Must never: carry a request body, which holds texts.
"""

from __future__ import annotations

import json
from typing import Any


class BlindtuneError(Exception):
    """Anything this package raises on purpose."""


class ApiConnectionError(BlindtuneError):
    """The host could not be reached, also after waiting for it."""


class HostUnreachableError(ApiConnectionError):
    """Nobody was found at the address by a client's very first request; it is not waited for."""


class WebhookVerificationError(BlindtuneError):
    """A webhook's message that is not what the host signed, or is too old."""


class RunError(BlindtuneError):
    """A run folder that cannot be used, or hosts that disagree."""


class ApiError(BlindtuneError):
    """An answer that is not 2xx. `code`, `param` and `type` come from the envelope, `request_id` from the header.

    `host` is the address that answered, without a password.
    """

    def __init__(self, status: int, envelope: dict[str, Any], request_id: str | None, host: str | None = None) -> None:
        self.status = status
        self.envelope = envelope
        self.message = str(envelope.get("message") or f"HTTP {status}")
        self.code: str | None = envelope.get("code")
        self.param: str | None = envelope.get("param")
        self.type: str | None = envelope.get("type")
        self.request_id = request_id
        self.host = host
        self.advice = ""
        super().__init__(status, envelope, request_id, host)

    def advised(self, advice: str) -> ApiError:
        """The same with what to do about it, which the host did not say."""
        self.advice = advice
        return self

    def __str__(self) -> str:
        code = f" {self.code}" if self.code else ""
        param = f" [param: {self.param}]" if self.param else ""
        named = [self.host] if self.host else []
        named += [f"request {self.request_id}"] if self.request_id else []
        where = f" ({', '.join(named)})" if named else ""
        return f"{self.status}{code}: {self.message}{param}{where}" + (f" {self.advice}" if self.advice else "")


class BadRequestError(ApiError):
    """400"""


class AuthenticationError(ApiError):
    """401"""


class PermissionDeniedError(ApiError):
    """403"""


class NotFoundError(ApiError):
    """404"""


class ConflictError(ApiError):
    """409"""


class PayloadTooLargeError(ApiError):
    """413"""


class UnprocessableEntityError(ApiError):
    """422"""


class RateLimitError(ApiError):
    """429"""


class ServerError(ApiError):
    """5xx"""


_BY_STATUS: dict[int, type[ApiError]] = {
    400: BadRequestError,
    401: AuthenticationError,
    403: PermissionDeniedError,
    404: NotFoundError,
    409: ConflictError,
    413: PayloadTooLargeError,
    422: UnprocessableEntityError,
    429: RateLimitError,
}


def error_from(status: int, body: bytes, request_id: str | None, host: str | None = None) -> ApiError:
    """The exception for an answer; a body without an envelope still gives one."""
    try:
        envelope = json.loads(body)["error"]
        if not isinstance(envelope, dict):
            raise TypeError
    except (ValueError, KeyError, TypeError):
        envelope = {"message": body[:200].decode("utf-8", "replace").strip() or f"HTTP {status}"}
    kind = _BY_STATUS.get(status) or (ServerError if status >= 500 else ApiError)
    return kind(status, envelope, request_id, host)
