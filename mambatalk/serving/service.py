"""The HTTP service: a recording in, a file of motion out."""

import asyncio
import socket
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Annotated, Any, Final

import uvicorn
from fastapi import FastAPI, HTTPException, Query, Request, Response
from fastapi.middleware.trustedhost import TrustedHostMiddleware
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.staticfiles import StaticFiles

import mambatalk
from mambatalk.audio.recording import Recording
from mambatalk.errors import InputError
from mambatalk.serving import CONTENT_TYPES, Format
from mambatalk.serving.batching import Batcher
from mambatalk.serving.generation import Model
from mambatalk.serving.output import Bodies, write_motion
from mambatalk.synthesis.layout import Speech, check_audio

LOOPBACK: Final = ("127.0.0.1", "localhost")
RETRY_SECONDS: Final = 5
PAGE_POLICY: Final = (
    "default-src 'self'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline';"
    " img-src 'self' data:; media-src 'self' blob:"
)
"""The page /docs loads nothing from other places. FastAPI writes its settings as inline script."""
DESCRIPTION: Final = """
Send the bytes of a recording (wav, flac, mp3, ogg, m4a, ...) as the body:

    curl --data-binary @speech.wav 'http://127.0.0.1:8000/motion?format=glb' -o speech.glb
"""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What one request, and all together, may take."""

    megabytes: float = 50
    """Size of a recording."""
    seconds: float = 300
    """Duration of a recording."""
    waiting: int = 16
    """Requests in work at the same time; further ones are answered with 429."""
    timeout: float = 600
    """Seconds after which a request is answered with 504."""


def create_app(
    model: Model, bodies: Bodies, limits: Limits, *, hosts: tuple[str, ...] = LOOPBACK
) -> FastAPI:
    """Return the service.

    Args:
        model: The model.
        bodies: Body of meshes and skeletons.
        limits: What requests may take.
        hosts: Host names that requests may use; `*` accepts all. Others are refused, because a web
            site can point a name of its own at this machine (DNS rebinding).

    """
    batcher = Batcher(model.synthesizer)
    synthesizer = model.synthesizer
    speakers = sorted(synthesizer.bundle.speakers)
    in_work = 0

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with batcher.running():
            yield

    app = FastAPI(
        title="MambaTalk",
        version=mambatalk.__version__,
        description=DESCRIPTION,
        lifespan=lifespan,
        # FastAPI's own pages load their scripts from the internet.
        docs_url=None,
        redoc_url=None,
    )
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=list(hosts))

    app.mount("/static", StaticFiles(packages=[("mambatalk.serving", "static")]))

    @app.get("/docs", include_in_schema=False)
    async def page() -> Response:
        """Return the description of requests as a page, which can also send them."""
        # Relative addresses, which hold behind a proxy with a prefix too.
        answer = get_swagger_ui_html(
            openapi_url="openapi.json",
            title="MambaTalk",
            swagger_js_url="static/swagger-ui-bundle.js",
            swagger_css_url="static/swagger-ui.css",
            swagger_favicon_url="data:,",
            swagger_ui_parameters={
                # By default a badge that a public validator draws.
                "validatorUrl": None,
                # The only schemas are those of errors.
                "defaultModelsExpandDepth": -1,
            },
        )
        answer.headers["Content-Security-Policy"] = PAGE_POLICY
        return answer

    @app.get("/")
    async def describe() -> dict[str, Any]:
        """Return the model, its speakers, and the limits."""
        return {
            "bundle": model.digest,
            "fidelity": synthesizer.bundle.fidelity,
            "speakers": speakers,
            "body": "stand-in" if bodies.path is None else "smplx",
            "limits": vars(limits),
            "notes": model.notes,
        }

    @app.post(
        "/motion",
        response_class=Response,
        responses={
            200: {"content": {kind: {} for kind in sorted(set(CONTENT_TYPES.values()))}},
            400: {"description": "The recording or the speaker is bad."},
            413: {"description": "The recording is too large."},
            429: {"description": "Too many requests are in work; try again."},
            504: {"description": "The request took too long."},
        },
        openapi_extra={
            "requestBody": {
                "required": True,
                "content": {"audio/*": {"schema": {"type": "string", "format": "binary"}}},
            }
        },
    )
    async def motion(
        request: Request,
        form: Annotated[Format, Query(alias="format", description="Format of the answer.")] = "npz",
        speaker: Annotated[
            int | None, Query(description="Id of a speaker. Default: the lowest id.")
        ] = None,
    ) -> Response:
        """Generate the motion of a recording."""
        nonlocal in_work
        if in_work >= limits.waiting:
            raise HTTPException(
                HTTPStatus.TOO_MANY_REQUESTS,
                "too many requests are in work; try again",
                {"Retry-After": str(RETRY_SECONDS)},
            )
        in_work += 1
        try:
            async with asyncio.timeout(limits.timeout):
                content = await answer(request, form, speakers[0] if speaker is None else speaker)
        except TimeoutError:
            raise HTTPException(
                HTTPStatus.GATEWAY_TIMEOUT, f"the request took more than {limits.timeout:g} s"
            ) from None
        except InputError as error:
            raise HTTPException(HTTPStatus.BAD_REQUEST, str(error)) from None
        finally:
            in_work -= 1
        return Response(content, media_type=CONTENT_TYPES[form])

    async def answer(request: Request, form: Format, speaker: int) -> bytes:
        synthesizer.speaker_index(speaker)
        with tempfile.TemporaryDirectory() as name:
            path = Path(name) / "speech"
            await _receive(request, path, round(limits.megabytes * 2**20))
            recording = Recording(path, name="the recording", max_seconds=limits.seconds)
            waveform = await asyncio.to_thread(recording.waveform)
            speech = Speech(waveform=waveform, speaker_id=speaker)
            check_audio(speech, synthesizer.layout)
            generated = await batcher.generate(speech)
            result = Path(name) / f"result.{form}"
            await asyncio.to_thread(write_motion, result, generated, recording, bodies)
            return result.read_bytes()

    return app


async def _receive(request: Request, path: Path, limit: int) -> None:
    """Write the body of a request to a file of at most `limit` bytes."""
    received = 0
    with path.open("wb") as file:
        async for chunk in request.stream():
            received += len(chunk)
            if received > limit:
                raise HTTPException(
                    HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                    f"expected at most {limit / 2**20:g} MB, found more",
                )
            file.write(chunk)


def run_service(app: FastAPI, *, host: str, port: int, started: Callable[[int], None]) -> None:
    """Answer requests until the process is stopped.

    Args:
        app: The service.
        host: Address to listen at.
        port: Port, or 0 for any free one.
        started: Called with the port before the first request.

    Raises:
        InputError: The address is not one of this machine, or the port is taken.

    """
    try:
        listener = socket.create_server((host, port))
    except OSError as error:
        raise InputError(
            f"{host}:{port}",
            f"expected a free port of this machine, found: {error.strerror}",
            "choose another with --port",
        ) from None
    with listener:
        started(listener.getsockname()[1])
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning"))
        server.run(sockets=[listener])
