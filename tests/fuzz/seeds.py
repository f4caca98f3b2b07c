"""Valid files to mutate: short sample clips in every supported format, and small real files."""

import io
import shutil
from pathlib import Path

import numpy as np
import soundfile

from mambatalk.corpus.layout import FOLDERS, KINDS, SPLIT_TABLE, clip_path, parse_clip_id
from mambatalk.quality.decisions import COLUMNS
from mambatalk.sample.build import write_sample
from tests.fuzz.mutations import pack
from tests.helpers.tiny_bundle import tiny_bundle
from tests.parity.published_form import auto_encoder, random_state

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
    write_clip(corpus, out / "clip")
    write_networks(out)
    write_decisions(out / "decisions")
    (out / "split").mkdir()
    shutil.copy(corpus / SPLIT_TABLE, out / "split")
    shutil.rmtree(corpus)
    for path in sorted(SHARED.glob("**/*.TextGrid")):
        if path.stat().st_size <= MAX_REAL_BYTES:
            shutil.copy(path, out / "textgrid" / f"real-{path.stem}")


def write_clip(corpus: Path, out: Path) -> None:
    """Write a whole clip of six seconds, packed."""
    clip = parse_clip_id("1_ada_0_1_1")
    out.mkdir()
    files = {kind: clip_path(corpus, clip, kind).read_bytes() for kind in KINDS}
    with np.load(io.BytesIO(files["motion"])) as archive:
        short = {
            name: value[:180] if name in ("poses", "trans", "expressions") else value
            for name, value in archive.items()
        }
    motion_file = io.BytesIO()
    np.savez(motion_file, **short)
    samples, rate = soundfile.read(io.BytesIO(files["wave"]), frames=96_000)
    wave_file = io.BytesIO()
    soundfile.write(wave_file, samples, rate, format="WAV")
    whole = {**files, "motion": motion_file.getvalue(), "wave": wave_file.getvalue()}
    (out / "0").write_bytes(pack(whole))


def write_networks(out: Path) -> None:
    """Write a bundle, one network, a published checkpoint and a vocabulary, all very small."""
    import torch

    for kind in ("bundle", "network", "published", "vocabulary"):
        (out / kind).mkdir()
    tiny_bundle().save(out / "tiny")
    files = {path.name: path.read_bytes() for path in sorted((out / "tiny").iterdir())}
    shutil.rmtree(out / "tiny")
    (out / "bundle" / "0").write_bytes(pack(files))
    face = {name: content for name, content in files.items() if name.startswith("face.")}
    (out / "network" / "0").write_bytes(pack(face))
    shapes = auto_encoder(106, 8, 2, 8)
    torch.save({"model_state": random_state(shapes), "epoch": 100}, out / "published" / "0")
    (out / "vocabulary" / "0").write_bytes(published_vocabulary({"PAD": 0, "yes": 1, "no": 2}))


def published_vocabulary(words: dict[str, int]) -> bytes:
    """Return the pickle of an object of a class `Vocab` that exists nowhere else."""
    import pickle
    import sys
    import types

    module = types.ModuleType("fuzzed_vocabulary")
    module.Vocab = type("Vocab", (), {"__module__": module.__name__})  # type: ignore[attr-defined]
    stored = module.Vocab()
    stored.word2index = words
    stored.word_vectors = np.zeros((len(words), 3), np.float32)
    sys.modules[module.__name__] = module
    try:
        return pickle.dumps(stored)
    finally:
        del sys.modules[module.__name__]


def write_decisions(out: Path) -> None:
    out.mkdir()
    rows = [",".join(COLUMNS)]
    rows += [f'1_ada_0_{k}_{k},{k % 10:x}{"a" * 63},accept,"a, b",me,2026-11-28' for k in range(9)]
    (out / "0").write_text("\n".join(rows) + "\n")


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
