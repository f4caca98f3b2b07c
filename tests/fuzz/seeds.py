"""Valid files to mutate: short sample clips in every supported format, and small real files."""

import io
import shutil
from pathlib import Path

import numpy as np
import soundfile

from mambatalk.corpus.layout import FOLDERS, SPLIT_TABLE
from mambatalk.sample.build import write_sample

SHARED = Path(__file__).parents[2].parent / "shared"
FORMATS = (
    ("WAV", "PCM_16"),
    ("WAV", "PCM_24"),
    ("WAV", "FLOAT"),
    ("WAV", "DOUBLE"),
    ("WAV", "PCM_U8"),
    ("WAV", "ALAW"),
    ("WAV", "IMA_ADPCM"),
    ("WAVEX", "PCM_16"),
    ("RF64", "PCM_16"),
    ("W64", "PCM_16"),
    ("FLAC", "PCM_16"),
    ("OGG", "VORBIS"),
    ("MP3", "MPEG_LAYER_III"),
    ("AIFF", "PCM_16"),
    ("AU", "PCM_16"),
)
MAX_REAL_BYTES = 10_000
"""Largest size in bytes of a real file used as a seed; short files are mutated faster."""


def write_seeds(out: Path) -> None:
    """Write a folder of valid files for each kind."""
    write_sample(out / "corpus", hours=0.02, speakers=3, seed=3, workers=1)
    corpus = out / "corpus"
    for kind, (folder, _) in FOLDERS.items():
        (out / kind).mkdir()
        for place, path in enumerate(sorted((corpus / folder).iterdir())[:3]):
            {"motion": motion, "wave": wave}.get(kind, shutil.copy)(path, out / kind / f"{place}")
    (out / "split").mkdir()
    shutil.copy(corpus / SPLIT_TABLE, out / "split")
    shutil.rmtree(corpus)
    for path in sorted(SHARED.glob("**/*.TextGrid")):
        if path.stat().st_size <= MAX_REAL_BYTES:
            shutil.copy(path, out / "textgrid" / f"real-{path.stem}")


def motion(path: Path, out: Path) -> None:
    """Write ten frames, uncompressed and compressed."""
    with np.load(path) as archive:
        arrays = {
            name: value[:10] if name in ("poses", "trans", "expressions") else value
            for name, value in archive.items()
        }
    for name, save in (("stored", np.savez), ("compressed", np.savez_compressed)):
        file = io.BytesIO()
        save(file, **arrays)
        out.with_suffix(f".{name}").write_bytes(file.getvalue())


def wave(path: Path, out: Path) -> None:
    """Write a second of audio, mono and stereo, in every format that libsndfile can write."""
    samples, rate = soundfile.read(path, frames=16_000, start=16_000)
    for container, subtype in FORMATS:
        if soundfile.check_format(container, subtype):
            file = io.BytesIO()
            soundfile.write(file, samples, rate, format=container, subtype=subtype)
            out.with_suffix(f".{container}.{subtype}").write_bytes(file.getvalue())
    soundfile.write(
        out.with_suffix(".stereo"), np.stack([samples, samples], axis=1), 44_100, format="WAV"
    )
