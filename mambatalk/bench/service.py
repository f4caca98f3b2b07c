"""Load on the HTTP service: what it carries, and its answers at twice that load."""

import http.client
import io
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
import soundfile
import torch
import uvicorn

from mambatalk.bench.generate import speech_like
from mambatalk.motion.skeleton import SAMPLE_RATE
from mambatalk.serving.generation import Model
from mambatalk.serving.output import Bodies
from mambatalk.serving.service import Limits, create_app

CLIENT_TIMEOUT: Final = 600
"""Seconds after which a request counts as lost."""
OVERLOAD: Final = 2
"""Rate of the second load relative to what the service carries."""


@dataclass(frozen=True, kw_only=True)
class Load:
    """Answers to one load."""

    offered: float
    """Requests per second that were sent."""
    answered: float
    """Requests per second that got motion."""
    median: float
    """Median seconds from a request to its motion; NaN if none got motion."""
    percentile_99: float
    """Seconds within which 99 % of the requests that got motion did; NaN likewise."""
    statuses: dict[str, int]
    """Number of answers by HTTP status; "lost" without one."""


@dataclass(frozen=True)
class _Answer:
    status: str
    seconds: float


def measure_service(
    bundle: Path, *, seconds: float, duration: float, waiting: int, device: torch.device
) -> tuple[Load, Load]:
    """Measure the service in this process over a socket, with requests for npz.

    Args:
        bundle: Folder of the model.
        seconds: Duration of the recording of each request.
        duration: Seconds that each load lasts.
        waiting: Requests that the service works on at the same time.
        device: Device of the model.

    Returns:
        The answers to `waiting` clients, each of which sends its next request after an answer; and
        the answers to requests at twice that rate, sent without waiting for answers.

    """
    model = Model.load(bundle, device)
    body = _recording(seconds)
    with _running(model, Limits(waiting=waiting)) as port:
        _post(port, body)
        carried = _closed_loop(port, body, clients=waiting, duration=duration)
        overloaded = _open_loop(port, body, rate=OVERLOAD * carried.answered, duration=duration)
    return carried, overloaded


def _recording(seconds: float) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, speech_like(seconds), SAMPLE_RATE, format="WAV")
    return file.getvalue()


@contextmanager
def _running(model: Model, limits: Limits) -> Iterator[int]:
    app = create_app(model, Bodies(path=None), limits)
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error"))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while thread.is_alive() and not server.started:
            time.sleep(0.01)
        if not server.started:
            raise RuntimeError("the service ended before it answered")
        yield int(server.servers[0].sockets[0].getsockname()[1])
    finally:
        server.should_exit = True
        thread.join()


def _post(port: int, body: bytes) -> _Answer:
    began = time.perf_counter()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=CLIENT_TIMEOUT)
    try:
        connection.request("POST", "/motion", body)
        answer = connection.getresponse()
        answer.read()
        status = str(answer.status)
    except (OSError, http.client.HTTPException):
        status = "lost"
    finally:
        connection.close()
    return _Answer(status, time.perf_counter() - began)


def _closed_loop(port: int, body: bytes, *, clients: int, duration: float) -> Load:
    end = time.perf_counter() + duration

    def client(_: int) -> list[_Answer]:
        answers = []
        while time.perf_counter() < end:
            answers.append(_post(port, body))
        return answers

    began = time.perf_counter()
    with ThreadPoolExecutor(clients) as pool:
        answers = [answer for part in pool.map(client, range(clients)) for answer in part]
    return _summary(answers, time.perf_counter() - began)


def _open_loop(port: int, body: bytes, *, rate: float, duration: float) -> Load:
    count = max(1, round(rate * duration))
    began = time.perf_counter()
    with ThreadPoolExecutor(count) as pool:
        sent = []
        for number in range(count):
            time.sleep(max(0.0, began + number / rate - time.perf_counter()))
            sent.append(pool.submit(_post, port, body))
        sending_seconds = time.perf_counter() - began
        answers = [future.result() for future in sent]
    summary = _summary(answers, time.perf_counter() - began)
    return replace(summary, offered=count / max(sending_seconds, 1 / rate))


def _summary(answers: list[_Answer], elapsed: float) -> Load:
    good = [answer.seconds for answer in answers if answer.status == "200"]
    return Load(
        offered=len(answers) / elapsed,
        answered=len(good) / elapsed,
        median=float(np.median(good)) if good else float("nan"),
        percentile_99=float(np.percentile(good, 99)) if good else float("nan"),
        statuses=dict(sorted(Counter(answer.status for answer in answers).items())),
    )
