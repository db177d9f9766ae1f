"""What stands beside a host in these tests: a relay that may cut connections, a receiver of webhooks, a busy caller.

All on loopback. Never: an answer that the host did not give.
"""

from __future__ import annotations

import json
import queue
import select
import socket
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tiny_host import TinyHost


@dataclass
class Relay:
    """A relay to a host: what it saw, and how many answers it will withhold."""

    host: str
    url: str = ""
    cut: int = 0
    retries: list[str] = field(default_factory=list)
    answers: list[str] = field(default_factory=list)


@dataclass
class Message:
    """What a webhook's receiver got."""

    body: bytes
    headers: dict[str, str]


@contextmanager
def relay_to(host: str) -> Iterator[Relay]:
    """A relay that passes each request on; `cut` of the answers are lost on the way back."""
    relay = Relay(host)

    class Passing(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            relay.retries.append(self.headers.get("x-stainless-retry-count", ""))
            status, answer, headers = _pass_on(relay.host + self.path, body, dict(self.headers))
            if relay.cut > 0:
                relay.cut -= 1
                self.close_connection = True
                return
            self.send_response(status)
            for name, value in headers.items():
                if name.lower() not in ("content-length", "connection", "transfer-encoding", "date"):
                    self.send_header(name, value)
            self.send_header("content-length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            pass

    with _serving(Passing) as url:
        relay.url = url
        yield relay


@contextmanager
def draining(host: TinyHost) -> Iterator[Relay]:
    """A relay that asks its host to end when the first request is half sent; the second finds it started again."""
    relay = Relay(host.url)

    class Holding(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            relay.retries.append(self.headers.get("x-stainless-retry-count", ""))
            first = len(relay.retries) == 1
            if not first:
                assert host.process is not None and host.process.wait(60) == 0
                host.start()
            with socket.create_connection(("127.0.0.1", host.port), timeout=30) as line:
                line.sendall(f"GET {self.path} HTTP/1.1\r\nhost: {host.url}\r\nconnection: close\r\n".encode())
                if first:
                    answered, _, _ = select.select([line], [], [], 1)  # time to read it: what is unread is cut
                    assert not answered, "the host reads on"
                    host.terminate()
                    _until_refused(host.port)
                line.sendall(b"\r\n")
                answer = b"".join(iter(lambda: line.recv(65536), b""))
            relay.answers.append(_summary(answer))
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            pass

    with _serving(Holding) as url:
        relay.url = url
        yield relay


@contextmanager
def receiver() -> Iterator[tuple[str, queue.Queue[Message]]]:
    """An address that webhooks can be delivered to, and what came."""
    got: queue.Queue[Message] = queue.Queue()

    class Receiving(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            got.put(Message(body, {name.lower(): value for name, value in self.headers.items()}))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with _serving(Receiving) as url:
        yield f"{url}/hook", got


@contextmanager
def busy_caller(host: str, port: int, key: str) -> Iterator[socket.socket]:
    """A caller whose upload has begun and goes on: it keeps one of the host's places for requests."""
    head = f"POST /v1/files HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer {key}\r\n"
    head += "content-type: multipart/form-data; boundary=x\r\ncontent-length: 1000\r\n\r\n"
    with socket.create_connection((host, port)) as line:
        line.sendall(head.encode() + b"--x\r\n")
        answered, _, _ = select.select([line], [], [], 0.3)
        assert not answered, "the host reads on"
        yield line


def _until_refused(port: int) -> None:
    """Until nobody listens there any more."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=5).close()
        except ConnectionRefusedError:
            return
        except ConnectionResetError:
            pass  # it was taken and cut
        time.sleep(0.02)
    raise AssertionError("the host still listens")


def _summary(answer: bytes) -> str:
    """The status of an answer, and the code of an error."""
    head, _, body = answer.partition(b"\r\n\r\n")
    code = json.loads(body).get("error", {}).get("code", "")
    return f"{head.split()[1].decode()} {code}".strip()


def _pass_on(url: str, body: bytes, headers: dict[str, str]) -> tuple[int, bytes, dict[str, str]]:
    kept = {name: value for name, value in headers.items() if name.lower() not in ("host", "accept-encoding")}
    request = urllib.request.Request(url, body, kept, method="POST")
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, answer.read(), dict(answer.headers)
    except urllib.error.HTTPError as error:
        return error.code, error.read(), dict(error.headers)


@contextmanager
def _serving(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
