"""Who is answered, and what a browser may do with the answer.

Owns: the token, the names that this server answers to, the headers of every answer. Must never: let a request for data
pass without the token, or one that was sent to another name: a page elsewhere could point its own name at 127.0.0.1.
"""

from __future__ import annotations

import hmac

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

API = "/api/"
NAMES = ("127.0.0.1", "localhost")
HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}


class Guard:
    """Stands before the whole application."""

    def __init__(self, app: ASGIApp, token: str) -> None:
        self.app, self.token = app, token.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def answered(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update(HEADERS)
                headers.setdefault("cache-control", "no-store")
            await send(message)

        refused = self._refused(scope["path"], Headers(scope=scope))
        await (refused or self.app)(scope, receive, answered)

    def _refused(self, path: str, headers: Headers) -> JSONResponse | None:
        if headers.get("host", "").rpartition(":")[0] not in NAMES and headers.get("host") not in NAMES:
            return refusal(403, "wrong_host", "this board answers to 127.0.0.1 and localhost alone")
        given = headers.get("authorization", "").removeprefix("Bearer ").encode()
        if path.startswith(API) and not hmac.compare_digest(given, self.token):
            return refusal(401, "wrong_token", "the token is missing or wrong: open the address that the board printed")
        return None


def refusal(status: int, code: str, message: str) -> JSONResponse:
    """An answer in the form that the page reads."""
    return JSONResponse({"error": {"code": code, "message": message}}, status)
