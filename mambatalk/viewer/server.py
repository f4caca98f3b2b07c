"""Serve the page and the clips to browsers on this machine."""

import json
from collections.abc import Callable
from functools import partial
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from threading import Lock
from typing import Any, Final

from mambatalk.errors import InputError
from mambatalk.viewer.clips import ViewedClip
from mambatalk.viewer.standalone import page_index

LOOPBACK: Final = "127.0.0.1"
STATIC: Final = {
    "/": ("index.html", "text/html; charset=utf-8"),
    "/page.css": ("page.css", "text/css; charset=utf-8"),
    "/page.js": ("page.js", "text/javascript; charset=utf-8"),
    "/three.js": ("three.js", "text/javascript; charset=utf-8"),
    "/three.LICENSE.txt": ("three.LICENSE.txt", "text/plain; charset=utf-8"),
}
POLICY: Final = (
    "default-src 'self'; img-src 'self' data: blob:; media-src 'self' blob:;"
    " connect-src 'self' blob:"
)
"""The page loads nothing from other places."""

Content = tuple[Callable[[], bytes], str]
"""Makes the content, and its type."""


def open_server(clips: list[ViewedClip], port: int) -> ThreadingHTTPServer:
    """Open a server on the loopback address; `serve_forever` runs it.

    Args:
        clips: What it shows.
        port: Port, or 0 for any free one.

    Raises:
        InputError: The port is taken, or a clip cannot be read.

    """
    contents = _contents(clips)
    handler = partial(_Handler, contents, Lock())
    try:
        server = ThreadingHTTPServer((LOOPBACK, port), handler)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(
            f"port {port}", f"expected a free port, found: {reason}", "choose another with --port"
        ) from None
    server.daemon_threads = True
    return server


def _contents(clips: list[ViewedClip]) -> dict[str, Content]:
    """Return everything that can be asked for, by path. No path reaches any other file."""
    contents: dict[str, Content] = {}
    for path, (name, kind) in STATIC.items():
        contents[path] = (files("mambatalk.viewer").joinpath("static", name).read_bytes, kind)
    described = []
    for number, clip in enumerate(clips):
        prefix = f"/clips/{number}"
        described.append(clip.describe(prefix.lstrip("/")))
        contents[f"{prefix}/generated.glb"] = (clip.generated_glb, "model/gltf-binary")
        if clip.truth_file:
            contents[f"{prefix}/truth.glb"] = (clip.truth_glb, "model/gltf-binary")
        if clip.audio_file:
            contents[f"{prefix}/audio.wav"] = (clip.audio_wav, "audio/wav")
    index = json.dumps(page_index(described)).encode()
    contents["/clips.json"] = (lambda: index, "application/json")
    return contents


class _Handler(BaseHTTPRequestHandler):
    """Answers GET requests from this machine."""

    def __init__(self, contents: dict[str, Content], lock: Lock, *arguments: Any) -> None:
        self._contents = contents
        self._lock = lock
        super().__init__(*arguments)

    def do_GET(self) -> None:  # noqa: N802
        """Answer with the content of a path."""
        # A name that a web site has pointed at this machine must not reach the server.
        host = self.headers.get("Host", "").partition(":")[0]
        if host not in (LOOPBACK, "localhost"):
            self._answer(HTTPStatus.FORBIDDEN, b"open the address that the command printed")
            return
        content = self._contents.get(self.path.partition("?")[0])
        if content is None:
            self._answer(HTTPStatus.NOT_FOUND, b"no such page")
            return
        make, kind = content
        try:
            # One at a time: a mesh takes a second of all processors.
            with self._lock:
                body = make()
        except InputError as error:
            self._answer(HTTPStatus.INTERNAL_SERVER_ERROR, str(error).encode())
            return
        self._answer(HTTPStatus.OK, body, kind)

    def _answer(
        self, status: HTTPStatus, body: bytes, kind: str = "text/plain; charset=utf-8"
    ) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Content-Security-Policy", POLICY)
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002
        """Print nothing for each request."""
