"""A hub on loopback: what huggingface_hub asks for when it lists and fetches a data set, and what
goes wrong there.

Shape of the answers as the hub gives them: listings in pages with a Link header; files of Git LFS
by a redirect to another host, whose headers carry etag, size, commit and a Xet hash; small files by
a redirect on the same host; ranges. Faults are named per file and used up one request at a time;
the log keeps what was asked and how much was sent.
"""

import hashlib
import json
import socket
import struct
import sys
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, quote, unquote, urlsplit

from huggingface_hub.utils.sha import git_hash

REPOSITORY = "H-Liu1997/BEAT2"
LFS = (".npz", ".wav", ".bin", ".pkl")
PAGE = 7
"""Entries of a page of a listing; the hub has 1000."""


@dataclass
class Hub:
    """What is served, what goes wrong, and what was asked."""

    files: dict[str, bytes]
    commit: str
    faults: dict[str, list[str | bytes]] = field(default_factory=dict)
    """Of the next requests, in order; one with an asterisk stays. For the body of a path: drop,
    reset, short, lie or a status. For `HEAD path`, `GET path`, `tree` and `revision`: a status,
    bytes to answer with, or stall."""
    log: list[dict] = field(default_factory=list)
    gate: threading.Semaphore | None = None
    """Where set, half of each body is sent at once and the other half for a permit."""
    retry_after: int = 3
    """Seconds asked for with a 429 or a 503."""
    url: str = ""
    cdn: str = ""

    def sent_whole(self) -> list[str]:
        """Paths whose last byte was sent, once for each time."""
        return [entry["path"] for entry in self.log if entry.get("whole")]

    def half_sent(self) -> int:
        """How many bodies are on their way, or never came to their end."""
        return sum("range" in entry and "whole" not in entry for entry in self.log)

    def asked(self, path: str, method: str = "GET") -> list[dict]:
        return [entry for entry in self.log if (entry["path"], entry["method"]) == (path, method)]


@contextmanager
def running(hub: Hub):
    """Serve `hub` at two ports, as hub and as content network, until the block ends."""
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
    def handle_error(self, request, client_address):
        """Say nothing of clients that were killed, and everything of faults of our own."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    timeout = 20

    def do_GET(self):
        self._route()

    def do_HEAD(self):
        self._route()

    def log_message(self, *_):
        pass

    def _route(self):
        url = urlsplit(self.path)
        parts = [unquote(part) for part in url.path.split("/")[1:]]
        api, data = (
            ["api", "datasets", *REPOSITORY.split("/")],
            ["datasets", *REPOSITORY.split("/")],
        )
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
            self._say(404, {"X-Error-Code": "RepoNotFound"})

    def _revision(self, name):
        if self._fault("revision"):
            return
        if name in ("main", self.hub.commit):
            self._json({"id": REPOSITORY, "sha": self.hub.commit})
        else:
            self._say(404, {"X-Error-Code": "RevisionNotFound"})

    def _tree(self, commit, folder, start):
        if self._fault("tree"):
            return
        paths = sorted(path for path in self.hub.files if path.startswith(f"{folder}/"))
        if commit != self.hub.commit or not paths:
            self._say(404, {"X-Error-Code": "RevisionNotFound" if paths else "EntryNotFound"})
            return
        entries = [{"type": "directory", "oid": "0" * 40, "size": 0, "path": f"{folder}/wave16k"}]
        entries += [_entry(path, self.hub.files[path]) for path in paths]
        more = start + PAGE < len(entries)
        link = f'<{self.hub.url}{urlsplit(self.path).path}?recursive=True&cursor={start + PAGE}>; rel="next"'
        self._json(entries[start : start + PAGE], {"Link": link} if more else {})

    def _resolve(self, commit, path):
        if self._fault(f"{self.command} {path}"):
            return
        if commit != self.hub.commit or path not in self.hub.files:
            self._say(
                404, {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": self.hub.commit}, path=path
            )
            return
        content = self.hub.files[path]
        lfs = path.endswith(LFS)
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
        self._say(302 if lfs else 307, headers, path=path)

    def _content(self, path):
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
        if fault and fault.isdigit():
            self._refuse(fault, path)
            return
        start = int((self.headers.get("Range") or "bytes=0-").removeprefix("bytes=").split("-")[0])
        body = _altered(content, fault)[start:]
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
        entry["whole"] = start + len(body) == len(content)

    def _hang_up(self, *, hard):
        self.wfile.flush()
        if hard:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.rfile.close()
            self.wfile.close()
            self.connection.close()
        self.close_connection = True

    def _fault(self, name):
        fault = self._next_fault(name)
        if isinstance(fault, bytes):
            self._say(200, {"Content-Type": "application/json"}, fault)
        elif fault == "stall":
            self.rfile.read(1)  # until the other side hangs up
            self.close_connection = True
        elif fault:
            self._refuse(fault, name)
        return bool(fault)

    def _next_fault(self, name):
        queue = self.hub.faults.get(name, [])
        if queue and queue[0][-1:] == "*":
            return queue[0][:-1]
        return queue.pop(0) if queue else None

    def _refuse(self, status, path):
        asked = {"Retry-After": str(self.hub.retry_after)}
        self._say(int(status), asked if status in ("429", "503") else {}, path=path)

    def _json(self, value, headers=None):
        body = json.dumps(value).encode()
        self._say(200, {"Content-Type": "application/json", **(headers or {})}, body)

    def _say(self, status, headers, body=b"", path=None):
        self.hub.log.append({"method": self.command, "path": path or self.path, "status": status})
        self._head(status, {**headers, "Content-Length": str(len(body))})
        self.wfile.write(body)

    def _head(self, status, headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()


def _entry(path, content):
    plain = {"type": "file", "oid": git_hash(content), "size": len(content), "path": path}
    if not path.endswith(LFS):
        return plain
    sha256 = hashlib.sha256(content).hexdigest()
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {len(content)}\n".encode()
    lfs = {"oid": sha256, "size": len(content), "pointerSize": len(pointer)}
    return {**plain, "oid": git_hash(pointer), "lfs": lfs, "xetHash": sha256}


def _altered(content, fault):
    if fault == "short":
        return content[: len(content) // 2]
    return bytes(len(content)) if fault == "lie" else content
