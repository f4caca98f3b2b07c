"""The embedded sample has the layout of BEATX, is reproducible, and is written as a whole."""

import json
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from textgrid import TextGrid

from mambatalk.corpus.layout import SPLITS, ClipId, clip_path, list_clips, read_split_table
from mambatalk.corpus.semantics import read_semantics
from mambatalk.corpus.snapshot import build_snapshot
from mambatalk.corpus.textgrid import read_textgrid
from mambatalk.corpus.wave import read_wav
from mambatalk.errors import InputError
from mambatalk.motion.clip import SmplxMotion
from mambatalk.sample.build import write_sample
from mambatalk.sample.espeak import Voice, speak
from mambatalk.sample.plan import plan_clips
from mambatalk.sample.style import speaker_styles

pytest.importorskip(
    "espeakng_loader", reason="the sample needs eSpeak NG: pip install 'mambatalk[sample]'"
)
HOURS = 0.02


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("sample") / "corpus"
    write_sample(out, hours=HOURS, speakers=3, seed=7)
    return out


@pytest.fixture(scope="module")
def clips(corpus: Path) -> list[ClipId]:
    return list_clips(corpus)


@pytest.mark.slow
def test_the_number_of_processes_does_not_change_a_byte(corpus: Path, tmp_path: Path) -> None:
    script = (
        "import sys\n"
        "from mambatalk.sample.build import write_sample\n"
        "if __name__ == '__main__':\n"
        f"    write_sample(sys.argv[1], hours={HOURS}, speakers=3, seed=7, workers=2)\n"
    )
    (tmp_path / "make.py").write_text(script)
    subprocess.run([sys.executable, tmp_path / "make.py", tmp_path / "again"], check=True)
    assert build_snapshot(tmp_path / "again") == build_snapshot(corpus)
    for path in (corpus / "events").iterdir():
        assert (tmp_path / "again" / "events" / path.name).read_bytes() == path.read_bytes()


def test_float_wavs_hold_no_time_stamp(tmp_path: Path) -> None:
    """Otherwise the same seed would give other bytes, and another snapshot, a second later."""
    write_sample(tmp_path / "corpus", hours=0.05, speakers=1, seed=7)
    path = tmp_path / "corpus" / "wave16k" / "1_ada_0_7_7.wav"
    assert soundfile.info(path).subtype == "FLOAT"
    header = path.read_bytes()[:128]
    peak_chunk = header.index(b"PEAK")
    assert header[peak_chunk + 12 : peak_chunk + 16] == bytes(4)


def test_another_seed_gives_other_clips() -> None:
    plans = []
    for seed in (1, 2):
        by_id = {str(p.clip): p for p in plan_clips(speaker_styles(3), hours=HOURS, seed=seed)}
        plans.append(by_id["1_ada_0_1_1"])
    assert plans[0].seconds != plans[1].seconds
    assert plans[0].seed != plans[1].seed


def test_speech_does_not_depend_on_earlier_calls() -> None:
    voice = Voice("en-us+m3", 150, 50)
    (first,) = speak(["the huge river"], voice)
    speak(["maybe nobody followed the captain"], Voice("en-us+f1", 170, 60))
    (second,) = speak(["the huge river"], voice)
    np.testing.assert_array_equal(first.samples, second.samples)
    assert first.words == second.words


def test_an_unknown_voice_is_an_input_error() -> None:
    with pytest.raises(InputError, match="no-such-voice"):
        speak(["hello"], Voice("no-such-voice", 150, 50))


def test_splits_speakers_and_lengths(corpus: Path, clips: list[ClipId]) -> None:
    split = read_split_table(corpus / "train_test_split.csv")
    assert sorted(split) == sorted(map(str, clips))
    count = {name: list(split.values()).count(name) for name in SPLITS}
    assert count["val"] >= 3
    assert count["test"] >= 4
    assert count["additional"] >= 1
    assert {clip.speaker for clip in clips} == {1, 2, 3}
    frames = [len(SmplxMotion.read(clip_path(corpus, clip, "motion"))) for clip in clips]
    assert sum(frames) / 30 / 3600 == pytest.approx(HOURS, rel=0.01)
    assert max(frames) > 1.3 * min(frames)


@pytest.mark.parametrize(("hours", "speakers"), [(0.17, 3), (1.0, 4), (10.0, 25)])
def test_shares_of_larger_samples(hours: float, speakers: int) -> None:
    plans = plan_clips(speaker_styles(speakers), hours=hours, seed=0)
    splits = [plan.split for plan in plans]
    assert len({str(plan.clip) for plan in plans}) == len(plans)
    assert sum(plan.seconds for plan in plans) / 3600 == pytest.approx(hours, rel=0.01)
    assert 0.6 < splits.count("train") / len(splits) < 0.8
    for split in ("train", "test"):
        found = {plan.style.speaker_id for plan in plans if plan.split == split}
        assert found == set(range(1, speakers + 1))
    assert all(12 < plan.seconds < 42 for plan in plans)


def test_motion_files_have_the_arrays_of_beatx(corpus: Path, clips: list[ClipId]) -> None:
    for clip in clips:
        with np.load(clip_path(corpus, clip, "motion"), allow_pickle=False) as file:
            frames = len(file["poses"])
            arrays = [(key, file[key].dtype.str, file[key].shape) for key in file.files]
            assert arrays == [
                ("betas", "<f4", (300,)),
                ("poses", "<f4", (frames, 165)),
                ("expressions", "<f8", (frames, 100)),
                ("trans", "<f8", (frames, 3)),
                ("model", "<U9", ()),
                ("gender", "<U7", ()),
                ("mocap_frame_rate", "<i4", ()),
            ]
            assert str(file["model"]) == "smplx2020"
            assert str(file["gender"]) == "neutral"
            assert int(file["mocap_frame_rate"]) == 30
            assert (file["betas"] != 0).all()
            assert file["expressions"].any(axis=0).all()


def test_audio_is_longer_than_motion(corpus: Path, clips: list[ClipId]) -> None:
    encodings = set()
    for clip in clips:
        path = clip_path(corpus, clip, "wave")
        info = soundfile.info(path)
        assert (info.samplerate, info.channels) == (16_000, 1)
        encodings.add(info.subtype)
        samples, _ = read_wav(path)
        motion = SmplxMotion.read(clip_path(corpus, clip, "motion"))
        assert 0.19 < len(samples) / 16_000 - len(motion) / 30 < 0.61
        assert 0.2 < np.abs(samples).max() < 0.99
    assert "PCM_16" in encodings


def test_every_seventh_clip_is_stored_in_float(tmp_path: Path) -> None:
    write_sample(tmp_path / "c", hours=HOURS, speakers=1, seed=0)
    info = soundfile.info(tmp_path / "c" / "wave16k" / "1_ada_0_7_7.wav")
    assert info.subtype == "FLOAT"


def test_tiers_cover_the_audio_without_gaps(corpus: Path, clips: list[ClipId]) -> None:
    for clip in clips:
        path = clip_path(corpus, clip, "textgrid")
        end = soundfile.info(clip_path(corpus, clip, "wave")).frames / 16_000
        assert [tier.name for tier in TextGrid.fromFile(str(path))] == ["words", "phones"]
        tiers = read_textgrid(path)
        for tier in (tiers.words, tiers.phones):
            assert tier[0].start == 0
            assert tier[-1].end == pytest.approx(end)
            assert all(a.end == b.start and a.start < a.end for a, b in pairwise(tier))
        assert all(row.text == row.text.lower() for row in tiers.words)
        phones = {row.text for row in tiers.phones}
        assert phones & {"AE1", "AY1", "AA1", "EY1", "IY1", "IH1"}
        assert "spn" not in phones


def test_words_are_aligned_with_the_audio(corpus: Path, clips: list[ClipId]) -> None:
    for clip in clips:
        samples, _ = read_wav(clip_path(corpus, clip, "wave"))
        power: dict[bool, list[float]] = {True: [], False: []}
        for row in read_textgrid(clip_path(corpus, clip, "textgrid")).words:
            part = samples[round(row.start * 16_000) : round(row.end * 16_000)]
            power[row.text != ""].append((part**2).mean())
        assert np.median(power[True]) > 100 * np.median(power[False])


def test_semantics_have_no_gaps_and_name_spoken_words(corpus: Path, clips: list[ClipId]) -> None:
    for clip in clips:
        rows = read_semantics(clip_path(corpus, clip, "semantics"))
        assert rows[0].start == 0
        assert all(a.end == b.start for a, b in pairwise(rows))
        spoken = {row.text for row in read_textgrid(clip_path(corpus, clip, "textgrid")).words}
        for row in rows:
            expected = ("07_iconic_h", 0.7) if row.keywords else ("01_beat_align", 0.1)
            assert (row.name, row.score) == expected
            assert not row.keywords or row.keywords in spoken


def test_mean_joint_speeds(corpus: Path) -> None:
    path = corpus / "weights" / "mean_vel_smplxflame_30.npy"
    speed = np.load(path, allow_pickle=False)
    assert (speed.dtype, speed.shape) == (np.float32, (55,))
    assert 0 < speed[7] < speed[15] < speed[21] < 1, "ankle, head, wrist"


def test_a_speaker_has_one_body(corpus: Path, clips: list[ClipId]) -> None:
    betas: dict[int, set[bytes]] = {}
    for clip in clips:
        motion = SmplxMotion.read(clip_path(corpus, clip, "motion"))
        betas.setdefault(clip.speaker, set()).add(motion.betas.tobytes())
    assert all(len(shapes) == 1 for shapes in betas.values())
    assert len(set.union(*betas.values())) == 3


def test_events_are_written_for_every_clip(corpus: Path, clips: list[ClipId]) -> None:
    kinds = set()
    for clip in clips:
        events = json.loads((corpus / "events" / f"{clip}.json").read_text())
        times = [event["time"] for event in events]
        assert times == sorted(times)
        kinds |= {event["kind"] for event in events}
    assert kinds == {"jaw", "beat", "word_gesture", "shift", "step"}


@pytest.mark.parametrize(
    ("arguments", "location"), [({"hours": 0.001}, "hours"), ({"speakers": 0}, "speakers")]
)
def test_invalid_arguments_write_nothing(
    tmp_path: Path, arguments: dict[str, Any], location: str
) -> None:
    valid: dict[str, Any] = {"hours": HOURS, "speakers": 3, "seed": 0}
    with pytest.raises(InputError, match=location):
        write_sample(tmp_path / "out", **valid | arguments)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_with_other_files_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("precious")
    with pytest.raises(InputError, match="other content"):
        write_sample(tmp_path, hours=HOURS, speakers=3, seed=0)
    assert (tmp_path / "thesis.tex").read_text() == "precious"


def test_an_interrupted_sample_leaves_nothing(tmp_path: Path) -> None:
    def interrupt(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_sample(tmp_path / "out", hours=HOURS, speakers=3, seed=0, progress=interrupt)
    assert list(tmp_path.iterdir()) == []
