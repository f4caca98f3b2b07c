"""`mambatalk view`: generated motion in the browser."""

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer()


@app.command(rich_help_panel="Results")
def view(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="Results of `mambatalk generate`, or npz files.")
    ],
    *,
    truth: Annotated[
        Path | None,
        typer.Option(
            help="Ground truth npz, or a folder with one of the same name for each result."
        ),
    ] = None,
    body: Annotated[
        Path | None, typer.Option(help="SMPL-X npz. Without it the stand-in body is shown.")
    ] = None,
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port to listen at; 0 takes any free one.")
    ] = 0,
) -> None:
    """Show results in the browser, with audio, waveform and words.

    Audio and TextGrids are beside the npz files under the same name, or where `generate` found
    them. The page works offline, and only browsers on this machine reach it. Ctrl-C ends it.

    **Examples**

        mambatalk view results

    Beside the recordings, with the distance of joints over time:

        mambatalk view results --truth beat_english_v2.0.0/smplxflame_30
    """
    from mambatalk.serving.output import Bodies
    from mambatalk.viewer.clips import find_clips
    from mambatalk.viewer.server import LOOPBACK, open_server

    bodies = Bodies(path=body)
    clips = find_clips(folder, truth, lambda: bodies.body)
    with open_server(clips, port) as server:
        shown = "1 clip" if len(clips) == 1 else f"{len(clips)} clips"
        typer.echo(f"http://{LOOPBACK}:{server.server_port} shows {shown}; Ctrl-C ends it")
        server.serve_forever()
