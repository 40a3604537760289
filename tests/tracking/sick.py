"""Servers that answer as none should, for tests."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class _Sick(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.server.requests += 1  # type: ignore[attr-defined]
        getattr(self, self.server.sickness)()  # type: ignore[attr-defined]

    do_GET = do_PATCH = do_POST

    def busy(self) -> None:
        """Ask for another try tomorrow."""
        self.send_response(429)
        self.send_header("Retry-After", "86400")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def slow(self) -> None:
        """Send a byte now and then."""
        self._begin(100_000)
        while not self.server.ended.wait(0.1):  # type: ignore[attr-defined]
            try:
                self.wfile.write(b" ")
            except OSError:
                return

    def silent(self) -> None:
        """Send nothing."""
        self.server.ended.wait()  # type: ignore[attr-defined]

    def broken(self) -> None:
        """Answer the first question, and fail at all others."""
        if "experiments/search" in self.path:
            self._begin(2)
            self.wfile.write(b"{}")
        else:
            self.send_error(500)

    def _begin(self, length: int) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(length))
        self.end_headers()

    def log_message(self, *_: object) -> None: ...


class SickServer(ThreadingHTTPServer):
    """A server with a sickness, and the number of its requests."""

    daemon_threads = True

    def __init__(self, sickness: str) -> None:
        super().__init__(("127.0.0.1", 0), _Sick)
        self.sickness, self.requests, self.ended = sickness, 0, threading.Event()

    def address(self, user: str = "") -> str:
        """Its address, with a user and a password in front."""
        return f"http://{user}127.0.0.1:{self.server_port}"


@contextmanager
def sick_server(sickness: str) -> Iterator[SickServer]:
    """Serve until the block ends."""
    server = SickServer(sickness)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server
    finally:
        server.ended.set()
        server.shutdown()
        server.server_close()
