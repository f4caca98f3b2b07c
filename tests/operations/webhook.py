"""A webhook on loopback that keeps what is posted to it."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass(frozen=True)
class Webhook:
    """An address, and the bodies of what was posted there."""

    address: str
    posted: list[str] = field(default_factory=list)


@contextmanager
def running_webhook() -> Iterator[Webhook]:
    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            webhook.posted.append(self.rfile.read(int(self.headers["Content-Length"])).decode())
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Receiver) as server:
        webhook = Webhook(f"http://127.0.0.1:{server.server_port}/secret-path")
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield webhook
        server.shutdown()
