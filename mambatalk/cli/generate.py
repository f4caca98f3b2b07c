"""`mambatalk generate`: from recordings of speech to files of motion."""

import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from mambatalk.cli.loading import (
    BodyOption,
    BundleOption,
    DeviceOption,
    ModelOption,
    bundle_folder,
    chosen_device,
)
from mambatalk.console import progress_bar
from mambatalk.errors import InputError
from mambatalk.files import make_folder, path_errors
from mambatalk.serving import FORMATS

if TYPE_CHECKING:
    from mambatalk.synthesis.bundle import Bundle
    from mambatalk.synthesis.sampling import Sampling

app = typer.Typer()


@app.command(rich_help_panel="Results")
def generate(
    speech: Annotated[
        list[Path],
        typer.Argument(
            metavar="SPEECH...",
            help="Recordings of speech: wav, flac, mp3, ogg, m4a, the sound of a video, of any rate"
            " and channels, up to two hours.",
        ),
    ],
    *,
    out: Annotated[Path, typer.Option(help="Folder of the results.")],
    bundle: BundleOption = None,
    model: ModelOption = None,
    speaker: Annotated[
        int | None,
        typer.Option(
            help="Id of the speaker of the training data whose style the motion takes."
            " [default: the lowest id]"
        ),
    ] = None,
    textgrid: Annotated[
        Path | None,
        typer.Option(
            help="TextGrid with a tier `words`, or a folder with one of the same name for each"
            " recording. Without it the audio alone is used."
        ),
    ] = None,
    start_pose: Annotated[
        Path | None,
        typer.Option(
            help="SMPL-X npz whose first four frames the motion starts with. [default: rest pose]"
        ),
    ] = None,
    formats: Annotated[
        str, typer.Option("--format", help=f"Comma-separated formats: {', '.join(FORMATS)}.")
    ] = "npz",
    side_by_side: Annotated[
        Path | None,
        typer.Option(
            metavar="TRUTH.npz",
            help="Recorded SMPL-X motion that the video shows beside the generated one, or a folder"
            " with one of the same name for each recording.",
        ),
    ] = None,
    fix_feet: Annotated[
        bool,
        typer.Option(
            "--fix-feet",
            help="Hold planted feet still, which a bundle of this project does by itself and"
            " published weights do not. The legs are those of --body.",
        ),
    ] = False,
    body: BodyOption = None,
    seed: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="Random seed; each seed gives another motion for the same speech. [default: 0; a"
            " bundle without code chains, such as published weights, takes the likeliest codes]",
        ),
    ] = None,
    temperature: Annotated[
        float, typer.Option(help="Below 1 gives likelier motion, above 1 more varied motion.")
    ] = 1.0,
    top_p: Annotated[
        float, typer.Option(help="Draw from the likeliest codes that make up this share.")
    ] = 1.0,
    device: DeviceOption = "auto",
    precision: Annotated[
        Literal["single", "half"] | None,
        typer.Option(
            help="Precision of the network's matrix products: `half` is faster on GPUs, and on"
            " processors that have instructions for it; with `single`, motion does not depend on"
            " the machine. [default: half on such devices for full-size models, else single]"
        ),
    ] = None,
) -> None:
    r"""Generate SMPL-X motion for recordings of speech.

    Every frame of the speech gets motion, at 30 frames per second. Beside the results of a
    recording, a JSON file says which bundle and options made them.

    **Examples**

    The motion as npz, for the SMPL-X add-on of Blender and the tools of the field:

        mambatalk generate speech.wav --out results

    A video of three recordings, with their words, drawn at random:

        mambatalk generate a.mp3 b.flac c.m4a --out results --format npz,mp4 \
            --textgrid transcripts --seed 1 --temperature 0.9

    The promoted model, continuing recorded motion:

        mambatalk generate speech.wav --out results --model models:/mambatalk@champion \
            --start-pose recorded.npz

    A video with the recorded motion on the right:

        mambatalk generate speech.wav --out results --format mp4 --side-by-side recorded.npz
    """
    from mambatalk.serving.generation import Model, Request, generate_files
    from mambatalk.serving.output import Bodies, parse_formats

    chosen = parse_formats(formats)
    if side_by_side and "mp4" not in chosen:
        raise InputError(
            "side-by-side", f"expected mp4 among the formats, found {formats}", "add --format mp4"
        )
    _check_names(speech)
    _check_writable(out)
    sampling = _sampling(seed, temperature, top_p)
    target = chosen_device(device)
    with bundle_folder(bundle, model) as folder:
        loaded = Model.load(folder, target, sampling, precision)
    speaker_id = _speaker(loaded.synthesizer.bundle, speaker)
    for note in loaded.notes:
        typer.echo(f"note: {note}", err=True)

    bodies = Bodies(path=body)
    failed = False
    shown: set[str] = set()
    for path in speech:
        began = time.perf_counter()
        try:
            request = Request(
                speech=path,
                out=out,
                formats=chosen,
                speaker_id=speaker_id,
                textgrid=_file_for(path, textgrid, ".TextGrid"),
                start_pose=start_pose,
                side_by_side=_file_for(path, side_by_side, ".npz"),
                fix_feet=fix_feet,
            )
            result = generate_files(loaded, bodies, request, progress_bar)
        except InputError as error:
            # The other recordings may be fine.
            if len(speech) == 1:
                raise
            typer.echo(f"mambatalk: {error}", err=True)
            failed = True
            continue
        for note in result.notes:
            if note not in shown:
                typer.echo(f"note: {note}", err=True)
        shown.update(result.notes)
        names = " ".join(map(str, result.files))
        seconds = time.perf_counter() - began
        typer.echo(f"{path.name}: {result.seconds:.1f} s of motion in {seconds:.1f} s: {names}")
        if result.video:
            typer.echo(f"{path.stem}.mp4: {result.video}")
    if failed:
        raise typer.Exit(2)


def _check_names(speech: list[Path]) -> None:
    counts = Counter(path.stem for path in speech)
    repeated = [name for name, count in counts.items() if count > 1]
    if repeated:
        raise InputError(
            "SPEECH",
            f"expected recordings of different names, found {repeated[0]!r} more than once",
            "results are named after recordings: rename one, or run the command twice",
        )


def _check_writable(out: Path) -> None:
    """Fail before the work, not after it."""
    make_folder(out)
    with path_errors(out, expected="a writable folder"), tempfile.TemporaryFile(dir=out):
        pass


def _sampling(seed: int | None, temperature: float, top_p: float) -> "Sampling | None":
    """Return None, for the default of the bundle, if no option asks for something else."""
    from mambatalk.synthesis.sampling import Sampling

    if seed is None and temperature == top_p == 1:
        return None
    return Sampling(seed=seed or 0, temperature=temperature, top_p=top_p)


def _speaker(bundle: "Bundle", speaker: int | None) -> int:
    known = sorted(bundle.speakers)
    if speaker is None:
        if len(known) > 1:
            others = ", ".join(map(str, known[1:]))
            typer.echo(f"note: speaker {known[0]}; --speaker selects {others}", err=True)
        return known[0]
    if speaker not in known:
        raise InputError(
            "speaker",
            f"expected one of {', '.join(map(str, known))}, found {speaker}",
            "choose a speaker that the bundle was trained on",
        )
    return speaker


def _file_for(speech: Path, given: Path | None, ending: str) -> Path | None:
    """Return the given file, or the file in the given folder that has the recording's name."""
    return given / f"{speech.stem}{ending}" if given and given.is_dir() else given
