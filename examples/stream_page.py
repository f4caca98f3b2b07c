"""Show a figure that moves while speech arrives: `python examples/stream_page.py speech.wav`.

The page plays the recording and sends its samples over a websocket as they are played, like a
microphone. The answer is motion, which the page shows with the sound, both delayed by as long as
the model needs. Only this machine can open the page.
"""

import asyncio
import queue
import sys
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from importlib.resources import files
from pathlib import Path

import numpy as np
import uvicorn
from fastapi import FastAPI, WebSocket, WebSocketDisconnect
from fastapi.responses import FileResponse, Response
from scipy.spatial.transform import Rotation
from starlette.concurrency import iterate_in_threadpool
from starlette.middleware.trustedhost import TrustedHostMiddleware

from mambatalk import Bundle, SmplxMotion, Synthesizer
from mambatalk.export.gltf import write_glb
from mambatalk.serving.output import Bodies
from mambatalk.synthesis.layout import Pace
from mambatalk.synthesis.streaming import stream, stream_delay

HOSTS = ["127.0.0.1", "localhost"]
MARGIN = 0.3
"""Seconds for computation and transport, beside the delay of the model."""


def rest_glb() -> bytes:
    """Return the figure, whose joints the page turns, as .glb."""
    still = SmplxMotion(
        poses=np.zeros((2, 165), np.float32),
        expressions=np.zeros((2, 100), np.float32),
        trans=np.zeros((2, 3), np.float32),
    )
    with tempfile.TemporaryDirectory() as folder:
        write_glb(Path(folder) / "rest.glb", still, Bodies(path=None).body)
        return (Path(folder) / "rest.glb").read_bytes()


def packed(motion: SmplxMotion) -> bytes:
    """Return 55 quaternions (x, y, z, w) and a translation of each frame, as float32."""
    turns = Rotation.from_rotvec(motion.poses.reshape(-1, 3)).as_quat().reshape(len(motion), -1)
    return np.concatenate([turns, motion.trans], axis=1).astype("<f4").tobytes()


def create_app(synthesizer: Synthesizer, speech: str) -> FastAPI:
    """Return the page, what it loads, and the websocket."""
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=HOSTS)
    figure = rest_glb()
    page = Path(__file__).with_suffix(".html").read_bytes()
    three = files("mambatalk.viewer").joinpath("static", "three.js").read_bytes()

    @app.get("/")
    def index() -> Response:
        return Response(page, media_type="text/html")

    @app.get("/three.js")
    def three_js() -> Response:
        return Response(three, media_type="text/javascript")

    @app.get("/figure.glb")
    def figure_glb() -> Response:
        return Response(figure, media_type="model/gltf-binary")

    @app.get("/speech.wav")
    def speech_file() -> FileResponse:
        return FileResponse(speech)

    @app.get("/delay")
    def delay() -> float:
        return stream_delay(synthesizer) + MARGIN

    @app.websocket("/motion")
    async def motion(socket: WebSocket) -> None:
        """Take float32 samples at 16 kHz, an empty message at the end, and answer with frames."""
        origin = socket.headers.get("origin", "http://127.0.0.1").split("/")[-1]
        if origin.rpartition(":")[0] not in HOSTS and origin not in HOSTS:
            await socket.close()
            return
        await socket.accept()
        chunks: queue.SimpleQueue[np.ndarray | None] = queue.SimpleQueue()

        async def listen() -> None:
            with suppress(WebSocketDisconnect):
                while data := await socket.receive_bytes():
                    chunks.put(np.frombuffer(data, "<f4"))
            chunks.put(None)

        def received() -> Iterator[np.ndarray]:
            while (chunk := chunks.get()) is not None:
                yield chunk

        listening = asyncio.create_task(listen())
        speaker = min(synthesizer.bundle.speakers)
        pieces = stream(synthesizer, received(), speaker_id=speaker)
        # A reader may close the page at any time.
        with suppress(WebSocketDisconnect):
            # The network computes in another thread, while this one takes more audio.
            async for piece in iterate_in_threadpool(pieces):
                await socket.send_bytes(packed(piece))
            await listening
            await socket.close()

    return app


if __name__ == "__main__":
    model = Synthesizer(Bundle.load("bundle"), pace=Pace(hop=8, look_ahead=8))
    port = int(sys.argv[2]) if len(sys.argv) > 2 else 8001
    print(f"open http://127.0.0.1:{port}")
    uvicorn.run(create_app(model, sys.argv[1]), host="127.0.0.1", port=port, log_level="warning")
