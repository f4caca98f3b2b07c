"""Motion of recordings that are read in pieces."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from mambatalk.audio.recording import Recording
from mambatalk.models.generator.network import Fused
from mambatalk.serving.generation import recording_motion
from mambatalk.synthesis.layout import ClipInputs
from mambatalk.synthesis.synthesizer import Synthesizer
from tests.helpers.speech import noise, speech
from tests.helpers.tiny_bundle import SPEAKER_IDS, tiny_bundle


@pytest.fixture
def threads(request: pytest.FixtureRequest) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize(
    ("threads", "groups"), [(1, [16, 2]), (2, [4, 4, 4, 4, 2])], indirect=["threads"]
)
def test_windows_of_a_file_are_encoded_together_but_never_all_of_a_long_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, groups: list[int]
) -> None:
    encode = Synthesizer.encode
    together: list[int] = []

    def counted(self: Synthesizer, windows: Sequence[tuple[ClipInputs, int]]) -> Fused:
        together.append(len(windows))
        return encode(self, windows)

    seconds = 36
    path = tmp_path / "speech.wav"
    soundfile.write(path, noise(seconds), 16_000, subtype="FLOAT")
    monkeypatch.setattr(Synthesizer, "encode", counted)
    synthesizer = Synthesizer(tiny_bundle())
    finished: list[int] = []
    motion, _ = recording_motion(
        synthesizer,
        Recording(path),
        speaker_id=SPEAKER_IDS[0],
        words=None,
        start=None,
        progress=lambda done, _: finished.append(done),
    )
    # The same groups as those of the whole recording, so that the last bits are the same, too.
    assert together == groups
    together.clear()
    whole = synthesizer.generate(speech(seconds))
    assert together == groups
    np.testing.assert_allclose(motion.poses, whole.poses, atol=1e-4)
    # The progress is shown more often than groups are encoded.
    assert len(finished) == 5
    assert finished[-1] == 30 * seconds
