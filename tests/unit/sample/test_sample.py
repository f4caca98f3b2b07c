"""The embedded sample is a BEATX corpus to the letter, the same bytes every time, and leaves
nothing half-written.
"""

import json
import subprocess
import sys

import numpy as np
import pytest
import soundfile
from textgrid import TextGrid

from mambatalk.corpus.layout import SPLITS, clip_path, list_clips, read_split_table
from mambatalk.corpus.semantics import read_semantics
from mambatalk.corpus.snapshot import build_snapshot
from mambatalk.corpus.textgrid import read_textgrid
from mambatalk.corpus.wave import read_wav
from mambatalk.errors import InputError
from mambatalk.motion.clip import SmplxMotion
from mambatalk.sample.build import write_sample
from mambatalk.sample.plan import plan_clips
from mambatalk.sample.speech import Voice, speak
from mambatalk.sample.style import speaker_styles

pytest.importorskip(
    "espeakng_loader", reason="eSpeak NG speaks the sample: pip install 'mambatalk[sample]'"
)
HOURS = 0.02


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    out = tmp_path_factory.mktemp("sample") / "corpus"
    write_sample(out, hours=HOURS, speakers=3, seed=7)
    return out


@pytest.fixture(scope="module")
def clips(corpus):
    return list_clips(corpus)


def test_other_processes_write_the_same_bytes(corpus, tmp_path):
    script = (
        "import sys; from mambatalk.sample.build import write_sample\n"
        f"if __name__ == '__main__': write_sample(sys.argv[1], hours={HOURS}, speakers=3, seed=7, workers=2)"
    )
    (tmp_path / "make.py").write_text(script)
    subprocess.run([sys.executable, tmp_path / "make.py", tmp_path / "again"], check=True)
    assert build_snapshot(tmp_path / "again") == build_snapshot(corpus)
    for path in (corpus / "events").iterdir():
        assert (tmp_path / "again" / "events" / path.name).read_bytes() == path.read_bytes()


def test_another_seed_says_something_else():
    (first,), (second,) = (
        [
            plan
            for plan in plan_clips(speaker_styles(3), hours=HOURS, seed=seed)
            if str(plan.clip) == "1_ada_0_1_1"
        ]
        for seed in (1, 2)
    )
    assert first.seconds != second.seconds
    assert first.seed != second.seed


def test_speech_does_not_depend_on_what_was_said_before():
    voice = Voice("en-us+m3", 150, 50)
    (alone,) = speak(["the huge river"], voice)
    speak(["maybe nobody followed the captain"], Voice("en-us+f1", 170, 60))
    (after,) = speak(["the huge river"], voice)
    np.testing.assert_array_equal(alone.samples, after.samples)
    assert alone.words == after.words


def test_an_unknown_voice_is_named():
    with pytest.raises(InputError, match="no-such-voice"):
        speak(["hello"], Voice("no-such-voice", 150, 50))


def test_splits_speakers_and_lengths(corpus, clips):
    split = read_split_table(corpus / "train_test_split.csv")
    assert sorted(split) == sorted(map(str, clips))
    count = {name: list(split.values()).count(name) for name in SPLITS}
    assert count["val"] >= 3
    assert count["test"] >= 4
    assert count["additional"] >= 1
    assert {clip.speaker for clip in clips} == {1, 2, 3}
    frames = [len(SmplxMotion.read(clip_path(corpus, clip, "motion")).poses) for clip in clips]
    assert sum(frames) / 30 / 3600 == pytest.approx(HOURS, rel=0.01)
    assert max(frames) > 1.3 * min(frames)


@pytest.mark.parametrize(("hours", "speakers"), [(0.17, 3), (1.0, 4), (10.0, 25)])
def test_shares_of_larger_samples(hours, speakers):
    plans = plan_clips(speaker_styles(speakers), hours=hours, seed=0)
    splits = [plan.split for plan in plans]
    assert len({str(plan.clip) for plan in plans}) == len(plans)
    assert sum(plan.seconds for plan in plans) / 3600 == pytest.approx(hours, rel=0.01)
    assert 0.6 < splits.count("train") / len(splits) < 0.8
    assert {plan.style.speaker for plan in plans if plan.split == "train"} == set(
        range(1, speakers + 1)
    )
    assert {plan.style.speaker for plan in plans if plan.split == "test"} == set(
        range(1, speakers + 1)
    )
    assert all(12 < plan.seconds < 42 for plan in plans)


def test_motion_files_are_beatx_to_the_letter(corpus, clips):
    for clip in clips:
        with np.load(clip_path(corpus, clip, "motion"), allow_pickle=False) as file:
            n = len(file["poses"])
            assert [(key, file[key].dtype.str, file[key].shape) for key in file.files] == [
                ("betas", "<f4", (300,)),
                ("poses", "<f4", (n, 165)),
                ("expressions", "<f8", (n, 100)),
                ("trans", "<f8", (n, 3)),
                ("model", "<U9", ()),
                ("gender", "<U7", ()),
                ("mocap_frame_rate", "<i4", ()),
            ]
            assert (str(file["model"]), str(file["gender"]), int(file["mocap_frame_rate"])) == (
                "smplx2020",
                "neutral",
                30,
            )
            assert (file["betas"] != 0).all()
            assert file["expressions"].any(axis=0).all()


def test_sound_outlasts_motion_and_both_encodings_occur(corpus, clips):
    encodings = set()
    for clip in clips:
        info = soundfile.info(clip_path(corpus, clip, "wave"))
        assert (info.samplerate, info.channels) == (16_000, 1)
        encodings.add(info.subtype)
        samples, _ = read_wav(clip_path(corpus, clip, "wave"))
        more = (
            len(samples) / 16_000
            - len(SmplxMotion.read(clip_path(corpus, clip, "motion")).poses) / 30
        )
        assert 0.19 < more < 0.61
        assert 0.2 < np.abs(samples).max() < 0.99
    assert "PCM_16" in encodings


def test_seventh_clips_are_in_float(tmp_path):
    write_sample(tmp_path / "c", hours=HOURS, speakers=1, seed=0)
    assert soundfile.info(tmp_path / "c" / "wave16k" / "1_ada_0_7_7.wav").subtype == "FLOAT"


def test_tiers_are_contiguous_to_the_end_of_the_sound(corpus, clips):
    for clip in clips:
        path = clip_path(corpus, clip, "textgrid")
        end = soundfile.info(clip_path(corpus, clip, "wave")).frames / 16_000
        assert [tier.name for tier in TextGrid.fromFile(str(path))] == ["words", "phones"]
        tiers = read_textgrid(path)
        for tier in (tiers.words, tiers.phones):
            assert tier[0].start == 0
            assert tier[-1].end == pytest.approx(end)
            assert all(
                a.end == b.start and a.start < a.end for a, b in zip(tier, tier[1:], strict=False)
            )
        assert all(row.text == row.text.lower() for row in tiers.words)
        assert {row.text for row in tiers.phones} & {"AE1", "AY1", "AA1", "EY1", "IY1", "IH1"}
        assert "spn" not in {row.text for row in tiers.phones}


def test_words_are_where_the_sound_is(corpus, clips):
    for clip in clips:
        samples, _ = read_wav(clip_path(corpus, clip, "wave"))
        loudness = {True: [], False: []}
        for row in read_textgrid(clip_path(corpus, clip, "textgrid")).words:
            part = samples[round(row.start * 16_000) : round(row.end * 16_000)]
            loudness[row.text != ""].append((part**2).mean())
        assert np.median(loudness[True]) > 100 * np.median(loudness[False])


def test_semantics_are_contiguous_and_name_spoken_words(corpus, clips):
    for clip in clips:
        rows = read_semantics(clip_path(corpus, clip, "semantics"))
        assert rows[0].start == 0
        assert all(a.end == b.start for a, b in zip(rows, rows[1:], strict=False))
        spoken = {row.text for row in read_textgrid(clip_path(corpus, clip, "textgrid")).words}
        for row in rows:
            assert (row.name, row.score) == (
                ("07_iconic_h", 0.7) if row.keywords else ("01_beat_align", 0.1)
            )
            assert not row.keywords or row.keywords in spoken


def test_mean_joint_speeds(corpus):
    speed = np.load(corpus / "weights" / "mean_vel_smplxflame_30.npy", allow_pickle=False)
    assert (speed.dtype, speed.shape) == (np.float32, (55,))
    assert 0 < speed[7] < speed[15] < speed[21] < 1


def test_a_speaker_keeps_body_and_voice(corpus, clips):
    betas = {}
    for clip in clips:
        betas.setdefault(clip.speaker, []).append(
            SmplxMotion.read(clip_path(corpus, clip, "motion")).betas.tobytes()
        )
    assert all(len(set(values)) == 1 for values in betas.values())
    assert len({values[0] for values in betas.values()}) == 3


def test_events_are_written_for_every_clip(corpus, clips):
    kinds = set()
    for clip in clips:
        events = json.loads((corpus / "events" / f"{clip}.json").read_text())
        assert [event["time"] for event in events] == sorted(event["time"] for event in events)
        kinds |= {event["kind"] for event in events}
    assert kinds == {"jaw", "beat", "word_gesture", "shift", "step"}


@pytest.mark.parametrize(
    ("asked", "named"), [({"hours": 0.001}, "hours"), ({"speakers": 0}, "speakers")]
)
def test_impossible_samples_are_refused_and_leave_nothing(tmp_path, asked, named):
    with pytest.raises(InputError, match=named):
        write_sample(tmp_path / "out", **{"hours": HOURS, "speakers": 3, "seed": 0} | asked)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_with_other_content_is_left_alone(tmp_path):
    (tmp_path / "thesis.tex").write_text("precious")
    with pytest.raises(InputError, match="other content"):
        write_sample(tmp_path, hours=HOURS, speakers=3, seed=0)
    assert (tmp_path / "thesis.tex").read_text() == "precious"


def test_an_interrupted_sample_leaves_nothing(tmp_path):
    def interrupt(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_sample(tmp_path / "out", hours=HOURS, speakers=3, seed=0, progress=interrupt)
    assert list(tmp_path.iterdir()) == []
