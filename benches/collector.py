"""A collector of traces and logs that keeps nothing, for what sending them costs: `python benches/collector.py`.

Owns: a port of loopback, which it prints; it ends with its standard input. Must never: read what it is sent.
"""

from __future__ import annotations

import http.server
import sys
import threading


class Answer(http.server.BaseHTTPRequestHandler):
    """Takes every body and says that it was taken."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        """Answer as OTLP over HTTP wants it: 200 and an empty message."""
        self.rfile.read(int(self.headers.get("content-length", 0)))
        self.send_response(200)
        self.send_header("content-type", "application/x-protobuf")
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


def main() -> None:
    """Serve until standard input ends."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        print(server.server_address[1], flush=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        sys.stdin.read()
        server.shutdown()


if __name__ == "__main__":
    main()
