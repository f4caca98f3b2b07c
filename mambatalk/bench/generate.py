"""Speed of synthesis: offline, several clips at once, and as a stream.

`python -m mambatalk.bench.generate BUNDLE SECONDS` is the process whose start and memory are
measured: it prints its processor time at the first window, and its memory at the end.
"""

import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

from mambatalk.bench.measurement import Measurement
from mambatalk.config import Config
from mambatalk.console import Progress
from mambatalk.fidelity import FidelityRules
from mambatalk.motion.skeleton import AUTO_ENCODERS, FPS, SAMPLE_RATE
from mambatalk.synthesis.bundle import Bundle
from mambatalk.synthesis.chain import CHAINED_PARTS
from mambatalk.synthesis.history_chain import MAX_FRAMES, chains_of_clips
from mambatalk.synthesis.layout import Pace, Speech
from mambatalk.synthesis.rest import arms_down
from mambatalk.synthesis.streaming import stream, stream_delay
from mambatalk.synthesis.synthesizer import Synthesizer

OFFLINE_TARGET: Final = 6
"""Seconds of motion per second, at full size on two cores."""
START_TARGET: Final = 5
"""Seconds from the start of the process to the motion of a window, at full size."""
WINDOW_SECONDS: Final = 64 / FPS
PARTS: Final = 4
"""Parts of the measurement, for the progress: start, offline, several clips, stream."""
VOCABULARY: Final = 11_195
SPEAKERS: Final = 25
"""Words and speakers of the published model."""


def speech_like(seconds: float) -> NDArray[np.float32]:
    """Return noise (S,) at 16 kHz in the rhythm of syllables."""
    random = np.random.default_rng(0)
    times = np.arange(int(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    loudness = np.clip(np.sin(2 * np.pi * 4 * times), 0, None)
    return (0.2 * loudness * random.standard_normal(len(times))).astype(np.float32)


def untrained_bundle(config: Config) -> Bundle:
    """Return a bundle of the size of a configuration, with random weights.

    Its speed is that of a trained one. It has no rest joints, so that feet are not held still.
    """
    from mambatalk.training.modules.generator import build_generator
    from mambatalk.training.modules.vq import build_auto_encoder

    torch.manual_seed(config.seed)
    rules = FidelityRules.of(config.fidelity)
    common = config.train_vq.common
    generator = build_generator(
        config.train_generator,
        vocabulary_size=VOCABULARY,
        speakers=SPEAKERS,
        codebook_size=common.codebook_size,
        code_dim=common.width,
        rules=rules,
    )
    auto_encoders = {
        part: build_auto_encoder(
            part,
            width=common.width,
            layers=config.train_vq.network(part).layers,
            codebook_size=common.codebook_size,
            quantizer=common.quantizer,
            rules=rules,
        )
        for part in AUTO_ENCODERS
    }
    for network in (generator, *auto_encoders.values()):
        network.eval().requires_grad_(False)
    random = np.random.default_rng(0)
    clips = []
    for speaker in range(SPEAKERS):
        codes = random.integers(common.codebook_size, size=MAX_FRAMES)
        clips.append((speaker, dict.fromkeys(CHAINED_PARTS, codes)))
    return Bundle(
        generator=generator,
        auto_encoders=auto_encoders,
        vocabulary={"PAD": 0},
        speakers={speaker + 1: speaker for speaker in range(SPEAKERS)},
        fidelity=config.fidelity,
        context_frames=config.train_generator.context_frames,
        window=config.train_generator.window,
        rest=arms_down(),
        config={"seed": config.seed},
        chains=chains_of_clips(clips, common.codebook_size),
    )


def measure_generation(
    folder: Path,
    *,
    seconds: float,
    clips: int,
    pace: Pace,
    device: torch.device,
    progress: Progress | None = None,
) -> list[Measurement]:
    """Measure a bundle, first in a process of its own and then in this one.

    A GPU compiles kernels and records graphs of windows the first two times, which are not counted.

    Args:
        folder: Folder of the bundle.
        seconds: Duration of the speech.
        clips: Number of clips that are generated at once.
        pace: Frames that each window of the stream adds, and frames that it waits for.
        device: Where to compute in this process; the other one decides as the commands do.
        progress: Called after each of the four parts.

    Raises:
        RuntimeError: The process of the first part failed.

    """
    speech_seconds = max(seconds, 2 * WINDOW_SECONDS)
    report = progress or (lambda done, all_parts: None)
    measurements = _start(folder, speech_seconds)
    report(1, PARTS)

    # Only now: the start, measured above, would otherwise find the files in memory.
    synthesizer = Synthesizer(Bundle.load(folder).to(device))
    synthesizer.generate(_speech(synthesizer, WINDOW_SECONDS))
    measurements += _offline(synthesizer, speech_seconds)
    report(2, PARTS)

    measurements += _batched(synthesizer, speech_seconds, clips)
    report(3, PARTS)

    measurements += _streamed(Synthesizer(synthesizer.bundle, pace=pace), speech_seconds)
    report(4, PARTS)
    return measurements


def _speech(synthesizer: Synthesizer, seconds: float) -> Speech:
    speaker = min(synthesizer.bundle.speakers)
    return Speech(waveform=speech_like(seconds), speaker_id=speaker)


def _start(folder: Path, seconds: float) -> list[Measurement]:
    began = time.perf_counter()
    command = [sys.executable, "-m", "mambatalk.bench.generate", str(folder), str(seconds)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        processor = process.stdout.readline()
        elapsed = time.perf_counter() - began
        memory = process.stdout.readline()
    if process.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with code {process.returncode}")
    return [
        Measurement("start to first window", elapsed, "s", START_TARGET),
        Measurement("start to first window, processor", float(processor), "s"),
        Measurement(f"peak memory, {seconds:g} s offline", int(memory) / 2**20, "GiB"),
    ]


def _offline(synthesizer: Synthesizer, seconds: float) -> list[Measurement]:
    speech = _speech(synthesizer, seconds)
    return _speed(synthesizer, "offline", seconds, lambda: synthesizer.generate(speech))


def _batched(synthesizer: Synthesizer, seconds: float, clips: int) -> list[Measurement]:
    speeches = [_speech(synthesizer, seconds)] * clips
    name = f"{clips} clips at once"
    return _speed(synthesizer, name, clips * seconds, lambda: synthesizer.generate_batch(speeches))


def _warm_ups(synthesizer: Synthesizer) -> int:
    return 2 if synthesizer.device.type == "cuda" else 0


def _speed(
    synthesizer: Synthesizer, name: str, seconds: float, generate: Callable[[], object]
) -> list[Measurement]:
    for _ in range(_warm_ups(synthesizer)):
        generate()
    began = time.perf_counter()
    processor_began = time.process_time()
    generate()
    wall = time.perf_counter() - began
    processor = time.process_time() - processor_began
    target = OFFLINE_TARGET if name == "offline" else None
    return [
        Measurement(name, seconds / wall, "x real time", target, higher_is_better=True),
        Measurement(f"{name}, processor per second of motion", processor / seconds, "s"),
    ]


def _streamed(synthesizer: Synthesizer, seconds: float) -> list[Measurement]:
    """Measure a stream whose audio comes in pieces of one hop."""
    waveform = speech_like(seconds)
    hop = synthesizer.layout.hop * SAMPLE_RATE // FPS
    given_seconds = 0.0
    last_given = 0.0

    def pieces() -> Iterator[NDArray[np.float32]]:
        """Yield the audio, and note how much of it has been given, and when."""
        nonlocal given_seconds, last_given
        for start in range(0, len(waveform), hop):
            piece = waveform[start : start + hop]
            given_seconds += len(piece) / SAMPLE_RATE
            last_given = time.perf_counter()
            yield piece

    speaker = min(synthesizer.bundle.speakers)
    for _ in range(_warm_ups(synthesizer)):
        for _ in stream(synthesizer, [waveform], speaker_id=speaker):
            pass
    first_frame = 0.0
    waits: list[float] = []
    began = time.perf_counter()
    processor_began = time.process_time()
    for _ in stream(synthesizer, pieces(), speaker_id=speaker):
        waits.append(time.perf_counter() - last_given)
        first_frame = first_frame or given_seconds + waits[-1]
    wall = time.perf_counter() - began
    processor = time.process_time() - processor_began
    name = f"stream, hop {synthesizer.layout.hop} + {synthesizer.layout.look_ahead}"
    return [
        Measurement(name, seconds / wall, "x real time"),
        Measurement(f"{name}, processor per second of motion", processor / seconds, "s"),
        Measurement(f"{name}, delay by design", stream_delay(synthesizer), "s"),
        Measurement(f"{name}, first frame", first_frame, "s"),
        Measurement(f"{name}, computation of a chunk, median", 1e3 * np.median(waits), "ms"),
        Measurement(f"{name}, of 99 % of the chunks", 1e3 * np.percentile(waits, 99), "ms"),
    ]


def _first_window_and_memory(folder: str, seconds: str) -> None:
    from mambatalk.runtime import device

    synthesizer = Synthesizer(Bundle.load(folder).to(device()))
    synthesizer.generate(_speech(synthesizer, WINDOW_SECONDS))
    sys.stdout.write(f"{time.process_time()}\n")
    sys.stdout.flush()
    synthesizer.generate(_speech(synthesizer, float(seconds)))
    # In kB on Linux.
    sys.stdout.write(f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss}\n")


if __name__ == "__main__":
    _first_window_and_memory(*sys.argv[1:])
