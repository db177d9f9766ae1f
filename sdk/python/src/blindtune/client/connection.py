"""What both clients have: the host's address, the key, and what becomes an exception.

Owns: addresses and keys. Must never: send anything, or show a password.
"""

from __future__ import annotations

import base64
import hashlib
import os
import re
from collections.abc import Callable
from typing import Any

import httpx

from .._version import __version__
from ..errors import ApiConnectionError, BlindtuneError, HostUnreachableError, error_from
from .deprecation import Deprecations
from .requests import OCTETS
from .step_calls import Call, StepAnswer, step_answer
from .transport import ADVICE, Patience, RetryPolicy, Traffic
from .waiting import why_unreachable

BASE_URL_VARIABLE = "BLINDTUNE_BASE_URL"
API_KEY_VARIABLE = "BLINDTUNE_API_KEY"

Recorder = Callable[[Call, bytes], None]
"""Is handed every step call as it was encoded, and the bytes of its answer."""


class Connection:
    """One host, how to be patient with it, and what its answers mean."""

    def __init__(self, base_url: str | None, policy: RetryPolicy | None, recorder: Recorder | None) -> None:
        url = base_url or os.environ.get(BASE_URL_VARIABLE)
        if not url:
            raise BlindtuneError(f"no host: pass base_url or set {BASE_URL_VARIABLE}")
        self.base_url = normalize_url(url)
        self.policy = policy or RetryPolicy()
        self.recorder = recorder
        self.traffic = Traffic()
        """Bytes up and down so far."""
        self.patience = Patience(self.policy)
        """The policy that requests go by now."""
        self._deprecations = Deprecations(self.base_url)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({_without_password(self.base_url)!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickled without key and password: a copy takes its key from the environment."""
        return _reconnected, (type(self), _without_password(self.base_url), self.policy)

    @property
    def host(self) -> str:
        """The host's address as messages name it: without a password, and without `/v1/`."""
        return shown_host(self.base_url)

    def _options(self, api_key: str | None, timeout_s: float) -> dict[str, Any]:
        key = api_key or os.environ.get(API_KEY_VARIABLE) or ""
        headers = {"User-Agent": f"blindtune-python/{__version__}"}
        if key:
            headers["Authorization"] = f"Bearer {key}"
        return {"base_url": self.base_url, "headers": headers, "timeout": httpx.Timeout(timeout_s, connect=5.0)}

    def _lost(self, error: httpx.TransportError) -> ApiConnectionError:
        if isinstance(error, httpx.ConnectError) and not self.traffic.answers:
            return HostUnreachableError(why_unreachable(error, self.host))
        return ApiConnectionError(f"{self.host}: {type(error).__name__}: {error}")

    def _good(self, response: httpx.Response) -> httpx.Response:
        """The response, where it is 2xx; otherwise it is raised. One that says that its call will go is warned of."""
        self._deprecations.notice(response, self.host)
        if response.is_success:
            return response
        told = response.headers.get("x-request-id")
        error = error_from(response.status_code, response.content, told, self.host)
        raise error.advised(str(response.extensions.get(ADVICE) or ""))

    def _whole(self, response: httpx.Response) -> bytes:
        """The body of a good response; an error where its SHA-256 (RFC 9530) is given and other bytes came."""
        body = self._good(response).content
        named = re.search(r"sha-256=:([0-9A-Za-z+/=]+):", response.headers.get("repr-digest", ""))
        if named and response.status_code == httpx.codes.OK:
            found = base64.b64encode(hashlib.sha256(body).digest()).decode()
            if found != named[1]:
                raise ApiConnectionError(
                    f"{self.host}: {response.url.path}: the bytes that came have SHA-256 {found} (base64), the host "
                    f"sent {named[1]}: something changed them on the way; download them again"
                )
        return body

    def _answered(self, call: Call, body: bytes) -> StepAnswer:
        answer = step_answer(body)
        if self.recorder is not None:
            self.recorder(call, body)
        return answer


def step_options(call: Call) -> dict[str, Any]:
    """How to send a step call."""
    headers = {"Content-Type": call.content_type, "Accept": OCTETS}
    return {"params": dict(call.query), "content": call.body, "headers": headers}


def _reconnected(kind: Callable[..., Any], url: str, policy: RetryPolicy) -> Any:
    return kind(url, retry=policy)


def _without_password(url: str) -> str:
    """For messages: what stands before `@` is a secret."""
    parsed = httpx.URL(url)
    return str(parsed.copy_with(username=None, password=None)) if parsed.userinfo else url


def shown_host(base_url: str) -> str:
    """A base URL as messages have it: without a password, and without `/v1/`."""
    return _without_password(base_url).removesuffix("/").removesuffix("/v1")


def normalize_url(url: str) -> str:
    """`host:port`, with or without scheme, slash and `/v1`, as one base URL ending in `/v1/`."""
    with_scheme = url if "://" in url else f"http://{url}"
    trimmed = with_scheme.rstrip("/")
    return (trimmed if trimmed.endswith("/v1") else f"{trimmed}/v1") + "/"
