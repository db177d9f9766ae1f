"""Stands between a client and a host, and keeps what the host was sent. Standard library only.

Owns: the requests, whole. Never: a change to one.
"""

from __future__ import annotations

import http.client
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

ONE_HOP = ("connection", "keep-alive", "transfer-encoding", "host", "content-length")


@dataclass
class Wiretap:
    """`url` is what a client is given in place of the host's."""

    url: str = ""
    requests: list[bytes] = field(default_factory=list)
    """Line, headers and body of each, as one."""


@contextmanager
def tapped(host_url: str) -> Iterator[Wiretap]:
    """A way to the host that is listened to."""
    tap, where = Wiretap(), urlsplit(host_url).netloc

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _pass(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            tap.requests.append(f"{self.requestline}\n{self.headers}".encode() + body)
            headers = {name: value for name, value in self.headers.items() if name.lower() not in ONE_HOP}
            host = http.client.HTTPConnection(where, timeout=60)
            host.request(self.command, self.path, body, headers)
            answer = host.getresponse()
            content = answer.read()
            self.send_response(answer.status)
            for name, value in answer.getheaders():
                if name.lower() not in ONE_HOP:
                    self.send_header(name, value)
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)
            host.close()

        do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = _pass

        def log_message(self, format: str, *args: object) -> None:
            """Silent."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    tap.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield tap
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)
