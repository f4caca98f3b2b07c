"""`mambatalk serve`: recordings in, files of motion out, over HTTP."""

from typing import Annotated

import typer

from mambatalk.cli.loading import (
    BodyOption,
    BundleOption,
    DeviceOption,
    ModelOption,
    bundle_folder,
    chosen_device,
)

app = typer.Typer()


@app.command(rich_help_panel="Results")
def serve(
    *,
    bundle: BundleOption = None,
    model: ModelOption = None,
    body: BodyOption = None,
    host: Annotated[
        str, typer.Option(help="Address to listen at. The default reaches this machine only.")
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port to listen at; 0 takes any free one.")
    ] = 8000,
    max_seconds: Annotated[
        float, typer.Option(min=1, help="Longest recording that is accepted.")
    ] = 300,
    max_waiting: Annotated[
        int,
        typer.Option(min=1, help="Requests in work at the same time; others get status 429."),
    ] = 16,
    device: DeviceOption = "auto",
) -> None:
    """Answer requests over HTTP: POST a recording to /motion, get a file of motion.

    Requests that arrive at the same time are generated side by side. There is no authentication:
    put a proxy in front before you listen at another address. The page /docs describes the
    requests and the formats, and needs no internet; programs read /openapi.json.

    While the service of the example runs, this command makes a glTF file:
    `curl --data-binary @speech.wav 'http://127.0.0.1:8000/motion?format=glb' -o speech.glb`

    **Example**

        mambatalk serve --bundle bundle --port 8000
    """
    from mambatalk.serving.generation import Model
    from mambatalk.serving.output import Bodies
    from mambatalk.serving.service import LOOPBACK, Limits, create_app, run_service

    with bundle_folder(bundle, model) as folder:
        loaded = Model.load(folder, chosen_device(device))
    limits = Limits(seconds=max_seconds, waiting=max_waiting)
    hosts = LOOPBACK if host in LOOPBACK else ("*",)
    bodies = Bodies(path=body)
    # Loaded now: at the first request a file that is no body model would seem the client's fault.
    _ = bodies.body
    service = create_app(loaded, bodies, limits, hosts=hosts)
    run_service(
        service,
        host=host,
        port=port,
        started=lambda port: typer.echo(f"http://{host}:{port}/docs; Ctrl-C ends it"),
    )
