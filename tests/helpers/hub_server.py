"""A Hugging Face hub on loopback, with faults.

It answers the requests of huggingface_hub for a data set like the real hub: listings in pages with
a Link header; LFS files by a redirect to another host, with headers for etag, size, commit and Xet
hash; small files by a redirect to the same host; range requests. Faults are given per file and each
applies to one request. The log records requests and how much was sent.
"""

import hashlib
import json
import socket
import struct
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlsplit

from huggingface_hub.utils.sha import git_hash

Entry = dict[str, Any]
"""A request in the log: method, path, status, and for bodies range, fault and completeness."""
Fault = str | bytes

REPOSITORY = "H-Liu1997/BEAT2"
LFS_SUFFIXES = (".npz", ".wav", ".bin", ".pkl")
PAGE_SIZE = 7
"""Entries on a page of a listing; the real hub has 1000."""


@dataclass
class Hub:
    """Files to serve, faults to cause, and a log of the requests."""

    files: dict[str, bytes]
    commit: str
    faults: dict[str, list[str | bytes]] = field(default_factory=dict)
    """Faults of the next requests, in order; a fault with an asterisk applies to all further ones.
    For the body of a path: drop, reset, short, lie or a status. For `HEAD path`, `GET path`, `tree`
    and `revision`: a status, stall, or bytes to answer with.
    """
    log: list[Entry] = field(default_factory=list)
    gate: threading.Semaphore | None = None
    """If set, the second half of each body waits for the semaphore."""
    retry_after: int = 3
    """Seconds in the Retry-After header of a 429 or a 503."""
    url: str = ""
    cdn: str = ""

    def completed_paths(self) -> list[str]:
        """Return the path of each completed transfer."""
        return [entry["path"] for entry in self.log if entry.get("complete")]

    def unfinished_count(self) -> int:
        """Return the number of transfers that are in progress or were interrupted."""
        return sum("range" in entry and "complete" not in entry for entry in self.log)

    def requests_of(self, path: str, method: str = "GET") -> list[Entry]:
        """Return the log entries of a path."""
        return [entry for entry in self.log if (entry["path"], entry["method"]) == (path, method)]


@contextmanager
def running(hub: Hub) -> Iterator[Hub]:
    """Serve `hub` until the block ends, on one port as the hub and on another as its CDN."""
    servers = [
        _Server(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": hub})) for _ in range(2)
    ]
    hub.url, hub.cdn = (f"http://127.0.0.1:{server.server_port}" for server in servers)
    threads = [threading.Thread(target=server.serve_forever, args=(0.02,)) for server in servers]
    for thread in threads:
        thread.start()
    try:
        yield hub
    finally:
        for server in servers:
            server.shutdown()
            server.socket.close()
        for thread in threads:
            thread.join()


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: Any, client_address: Any) -> None:
        """Report errors, except for connections that the client closed."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    timeout = 20

    def do_GET(self) -> None:
        self._route()

    def do_HEAD(self) -> None:
        self._route()

    def log_message(self, *_: object) -> None:
        pass

    def _route(self) -> None:
        url = urlsplit(self.path)
        parts = [unquote(part) for part in url.path.split("/")[1:]]
        data = ["datasets", *REPOSITORY.split("/")]
        api = ["api", *data]
        if parts[:4] == api and parts[4] == "revision":
            self._revision(parts[5])
        elif parts[:4] == api and parts[4] == "commits":
            self._json(
                [
                    {
                        "id": self.hub.commit,
                        "authors": [{"user": "someone"}],
                        "date": "2024-02-10T00:00:00.000Z",
                        "title": "init",
                        "message": "",
                    }
                ]
            )
        elif parts[:4] == api and parts[4] == "tree":
            self._tree(parts[5], parts[6], int(parse_qs(url.query).get("cursor", ["0"])[0]))
        elif parts[:3] == data and parts[3] == "resolve":
            self._resolve(parts[4], "/".join(parts[5:]))
        elif parts[0] == "content":
            self._content("/".join(parts[1:]))
        else:
            self._answer(404, {"X-Error-Code": "RepoNotFound"})

    def _revision(self, name: str) -> None:
        if self._fault("revision"):
            return
        if name in ("main", self.hub.commit):
            self._json({"id": REPOSITORY, "sha": self.hub.commit})
        else:
            self._answer(404, {"X-Error-Code": "RevisionNotFound"})

    def _tree(self, commit: str, folder: str, start: int) -> None:
        if self._fault("tree"):
            return
        paths = sorted(path for path in self.hub.files if path.startswith(f"{folder}/"))
        if commit != self.hub.commit or not paths:
            self._answer(404, {"X-Error-Code": "RevisionNotFound" if paths else "EntryNotFound"})
            return
        entries = [{"type": "directory", "oid": "0" * 40, "size": 0, "path": f"{folder}/wave16k"}]
        entries += [_entry(path, self.hub.files[path]) for path in paths]
        more = start + PAGE_SIZE < len(entries)
        next_page = f"{urlsplit(self.path).path}?recursive=True&cursor={start + PAGE_SIZE}"
        link = f'<{self.hub.url}{next_page}>; rel="next"'
        self._json(entries[start : start + PAGE_SIZE], {"Link": link} if more else {})

    def _resolve(self, commit: str, path: str) -> None:
        if self._fault(f"{self.command} {path}"):
            return
        if commit != self.hub.commit or path not in self.hub.files:
            self._answer(
                404, {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": self.hub.commit}, path=path
            )
            return
        content = self.hub.files[path]
        lfs = path.endswith(LFS_SUFFIXES)
        etag = hashlib.sha256(content).hexdigest() if lfs else git_hash(content)
        headers = {
            "X-Repo-Commit": commit,
            "X-Linked-Etag": f'"{etag}"',
            "X-Linked-Size": str(len(content)),
            "Location": f"{self.hub.cdn if lfs else ''}/content/{quote(path)}",
        }
        if lfs:
            route = f"{self.hub.url}/api/datasets/{REPOSITORY}/xet-read-token/{commit}"
            headers |= {"X-Xet-Hash": etag, "Link": f'<{route}>; rel="xet-auth"'}
        self._answer(302 if lfs else 307, headers, path=path)

    def _content(self, path: str) -> None:
        content = self.hub.files[path]
        headers = {
            "ETag": f'"{git_hash(content)}"',
            "X-Repo-Commit": self.hub.commit,
            "Accept-Ranges": "bytes",
        }
        if self.command == "HEAD":
            self._head(200, {**headers, "Content-Length": str(len(content))})
            return
        fault = self._next_fault(path)
        if isinstance(fault, str) and fault.isdigit():
            self._refuse(fault, path)
            return
        start = int((self.headers.get("Range") or "bytes=0-").removeprefix("bytes=").split("-")[0])
        body = _apply_fault(content, fault)[start:]
        status = 206 if "Range" in self.headers else 200
        if status == 206:
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        entry = {
            "method": "GET",
            "path": path,
            "status": status,
            "range": self.headers.get("Range"),
            "fault": fault,
        }
        self.hub.log.append(entry)
        self._head(status, {**headers, "Content-Length": str(len(body))})
        self.wfile.write(body[: len(body) // 2])
        if fault in ("drop", "reset"):
            self._hang_up(hard=fault == "reset")
            return
        if self.hub.gate is not None:
            self.hub.gate.acquire()
        self.wfile.write(body[len(body) // 2 :])
        entry["complete"] = start + len(body) == len(content)

    def _hang_up(self, *, hard: bool) -> None:
        self.wfile.flush()
        if hard:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.rfile.close()
            self.wfile.close()
            self.connection.close()
        self.close_connection = True

    def _fault(self, name: str) -> bool:
        fault = self._next_fault(name)
        if isinstance(fault, bytes):
            self._answer(200, {"Content-Type": "application/json"}, fault)
        elif fault == "stall":
            self.rfile.read(1)  # Blocks until the client closes the connection.
            self.close_connection = True
        elif fault:
            self._refuse(fault, name)
        return bool(fault)

    def _next_fault(self, name: str) -> Fault | None:
        queue = self.hub.faults.get(name, [])
        if queue and queue[0][-1:] == "*":
            return queue[0][:-1]
        return queue.pop(0) if queue else None

    def _refuse(self, status: str, path: str) -> None:
        headers = {"Retry-After": str(self.hub.retry_after)}
        self._answer(int(status), headers if status in ("429", "503") else {}, path=path)

    def _json(self, value: Any, headers: dict[str, str] | None = None) -> None:
        body = json.dumps(value).encode()
        self._answer(200, {"Content-Type": "application/json", **(headers or {})}, body)

    def _answer(
        self, status: int, headers: dict[str, str], body: bytes = b"", path: str | None = None
    ) -> None:
        self.hub.log.append({"method": self.command, "path": path or self.path, "status": status})
        self._head(status, {**headers, "Content-Length": str(len(body))})
        self.wfile.write(body)

    def _head(self, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()


def _entry(path: str, content: bytes) -> Entry:
    plain: dict[str, Any] = {
        "type": "file",
        "oid": git_hash(content),
        "size": len(content),
        "path": path,
    }
    if not path.endswith(LFS_SUFFIXES):
        return plain
    sha256 = hashlib.sha256(content).hexdigest()
    pointer = (
        f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {len(content)}\n"
    ).encode()
    lfs = {"oid": sha256, "size": len(content), "pointerSize": len(pointer)}
    return {**plain, "oid": git_hash(pointer), "lfs": lfs, "xetHash": sha256}


def _apply_fault(content: bytes, fault: Fault | None) -> bytes:
    if fault == "short":
        return content[: len(content) // 2]
    return bytes(len(content)) if fault == "lie" else content
