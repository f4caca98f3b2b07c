"""SmplxMotion: reading, writing and slicing a clip, and the errors for files that are not one."""

import io
import pickle
import tracemalloc
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mambatalk.errors import InputError
from mambatalk.motion.clip import SmplxMotion
from tests.helpers.motions import smooth_motion

REAL = (
    Path(__file__).parents[3].parent
    / "shared"
    / "beatx_clips"
    / "beat_english_v2.0.0"
    / "smplxflame_30"
)


Save = Callable[..., None]


def arrays(frames: int = 5) -> dict[str, Any]:
    random = np.random.default_rng(0)
    return {
        "betas": random.normal(size=300).astype(np.float32),
        "poses": random.normal(size=(frames, 165)).astype(np.float32),
        "expressions": random.normal(size=(frames, 100)),
        "trans": random.normal(size=(frames, 3)),
        "model": np.array("smplx2020"),
        "gender": np.array("neutral"),
        "mocap_frame_rate": np.array(30, np.int32),
    }


def npz(save: Save = np.savez, **changes: Any) -> bytes:
    file = io.BytesIO()
    values = arrays() | changes
    save(file, **{key: value for key, value in values.items() if value is not None})
    return file.getvalue()


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_files_may_be_stored_or_compressed_in_single_or_double(
    save: Save, kind: type[np.floating]
) -> None:
    given = arrays()
    motion = SmplxMotion.read(
        npz(save, **{key: given[key].astype(kind) for key in ("poses", "expressions", "trans")})
    )
    np.testing.assert_array_equal(motion.poses, given["poses"])
    np.testing.assert_array_equal(motion.expressions, given["expressions"].astype(np.float32))
    np.testing.assert_array_equal(motion.trans, given["trans"].astype(kind))
    assert (motion.poses.dtype, motion.expressions.dtype, motion.fps) == (
        np.float32,
        np.float32,
        30.0,
    )


def test_arrays_in_column_order_are_read() -> None:
    motion = SmplxMotion.read(npz(poses=np.asfortranarray(arrays()["poses"])))
    np.testing.assert_array_equal(motion.poses, arrays()["poses"])


def test_arrays_that_were_read_are_writable() -> None:
    motion = SmplxMotion.read(npz())
    motion.poses[0] = 0
    motion.trans[0] = 0


def test_the_frame_rate_is_that_of_the_file() -> None:
    assert SmplxMotion.read(npz(mocap_frame_rate=np.array(60, np.int64))).fps == 60


def test_nan_is_read_for_the_data_checks_to_find() -> None:
    assert np.isnan(SmplxMotion.read(npz(trans=np.full((5, 3), np.nan))).trans).all()


@pytest.mark.parametrize("key", ["poses", "trans", "expressions", "betas", "mocap_frame_rate"])
def test_a_missing_array_is_named(key: str) -> None:
    with pytest.raises(InputError, match=f"no {key}"):
        SmplxMotion.read(npz(**{key: None}))


@pytest.mark.parametrize(
    ("key", "value", "named"),
    [
        ("poses", np.zeros((5, 156), np.float32), "poses"),
        ("poses", np.zeros((0, 165), np.float32), "at least one frame"),
        ("poses", np.float32(0), "at least one frame"),
        ("trans", np.zeros((4, 3)), "trans"),
        ("expressions", np.zeros((5, 50)), "expressions"),
        ("betas", np.zeros(16, np.float32), "betas"),
        ("poses", np.zeros((5, 165), np.int16), "int16"),
        ("poses", np.zeros((5, 165), complex), "complex"),
        ("mocap_frame_rate", np.array("30"), "frames per second"),
        ("mocap_frame_rate", np.array(0), "frames per second"),
        ("mocap_frame_rate", np.array([30, 30]), "frames per second"),
        ("mocap_frame_rate", np.array(np.nan), "frames per second"),
    ],
)
def test_an_array_of_the_wrong_shape_or_type_is_named(key: str, value: Any, named: str) -> None:
    with pytest.raises(InputError, match=named):
        SmplxMotion.read(npz(**{key: value}))


class Bomb:
    def __reduce__(self) -> tuple[Any, ...]:
        return pytest.fail, ("a pickle was loaded",)


def test_pickled_objects_are_not_loaded() -> None:
    with pytest.raises(InputError, match="pickled"):
        SmplxMotion.read(npz(betas=np.array([Bomb()], dtype=object)))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"PK",
        b"not a zip",
        pickle.dumps({"poses": 1}),
        npz()[:2000],
        npz()[2000:],
        npz().replace(b"poses", b"posse"),
        npz().replace(b"(5, 165)", b"(5, 166)"),
        npz().replace(b"(5, 165)", b"(-5,165)"),
        npz().replace(b"<f4", b"|O8"),
        npz().replace(b"NUMPY", b"NUMPI"),
        npz(np.savez_compressed)[:-400] + bytes(400),
    ],
    ids=range(12),
)
def test_a_damaged_file_is_an_error_of_one_line(data: bytes) -> None:
    with pytest.raises(InputError) as error:
        SmplxMotion.read(data, where="clip.npz")
    assert str(error.value).startswith("clip.npz")
    assert "\n" not in str(error.value)


def test_a_header_that_claims_too_much_allocates_nothing() -> None:
    claim, honest = b"(5000000000, 165), }", b"(5, 165), }         "
    data = npz()
    assert honest in data
    file = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as given, zipfile.ZipFile(file, "w") as archive:
        # Written again, so that the checksums are right and only the header is wrong.
        for name in given.namelist():
            archive.writestr(name, given.read(name).replace(honest, claim))
    with pytest.raises(InputError, match="3300000000000 bytes"):
        SmplxMotion.read(file.getvalue())


def packed(values: bytes, compression: int, *, claimed: int | None = None) -> bytes:
    """Return an npz whose arrays are `values`, with another size in its directory if `claimed`."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive:
        for name in arrays():
            archive.writestr(f"{name}.npy", values)
    data = file.getvalue()
    if claimed is None:
        return data
    return data.replace(len(values).to_bytes(4, "little"), claimed.to_bytes(4, "little"))


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda: packed(bytes(2**26), zipfile.ZIP_DEFLATED), "arrays of 335544320 bytes"),
        (lambda: packed(bytes(2**26), zipfile.ZIP_DEFLATED, claimed=1000), "damaged"),
        (lambda: packed(bytes(2**20), zipfile.ZIP_LZMA), "compression 14"),
        (lambda: packed(bytes(2**20), zipfile.ZIP_BZIP2), "compression 12"),
        (lambda: packed(b"", zipfile.ZIP_STORED) + b"PK\x01\x02" * 1001, "more than 1000 files"),
    ],
    ids=["true size", "larger than stated", "lzma", "bzip2", "many files"],
)
def test_a_zip_bomb_is_refused_before_it_is_unpacked(make: Callable[[], bytes], named: str) -> None:
    data = make()
    tracemalloc.start()
    with pytest.raises(InputError, match=named):
        SmplxMotion.read(data)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2**22


def test_a_missing_file_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        SmplxMotion.read(tmp_path / "none.npz")
    with pytest.raises(InputError):
        SmplxMotion.read(tmp_path)


@pytest.mark.skipif(not REAL.is_dir(), reason="no real clips beside the checkout")
def test_real_clips() -> None:
    first, second = (SmplxMotion.read(path) for path in sorted(REAL.glob("*.npz")))
    assert (len(first.poses), len(second.poses)) == (1906, 1804)
    assert first.fps == second.fps == 30
    assert first.trans[:, 1].mean() == pytest.approx(1.303, abs=1e-3)
    np.testing.assert_array_equal(first.betas, second.betas)


def test_a_written_file_has_the_arrays_of_beatx(tmp_path: Path) -> None:
    betas = np.linspace(-1, 1, 300, dtype=np.float32)
    motion = replace(smooth_motion(0, 50), betas=betas)
    for name in ("a.npz", "b.npz"):
        motion.write(tmp_path / name)
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    with np.load(tmp_path / "a.npz", allow_pickle=False) as archive:
        facts = {key: (archive[key].shape, archive[key].dtype.kind) for key in archive.files}
        assert facts == {
            "betas": ((300,), "f"),
            "poses": ((50, 165), "f"),
            "expressions": ((50, 100), "f"),
            "trans": ((50, 3), "f"),
            "model": ((), "U"),
            "gender": ((), "U"),
            "mocap_frame_rate": ((), "i"),
        }
        assert {archive[key].dtype for key in ("betas", "poses", "expressions", "trans")} == {
            np.dtype(np.float32)
        }
        assert (
            str(archive["model"]),
            str(archive["gender"]),
            int(archive["mocap_frame_rate"]),
        ) == ("smplx2020", "neutral", 30)
        np.testing.assert_array_equal(archive["poses"], motion.poses)


def test_a_file_is_read_as_it_was_written(tmp_path: Path) -> None:
    motion = smooth_motion(0, 20)
    motion.write(tmp_path / "clip.npz")
    copy = SmplxMotion.read(tmp_path / "clip.npz")
    for name in ("poses", "expressions", "trans", "betas"):
        np.testing.assert_array_equal(getattr(copy, name), getattr(motion, name))
    assert copy.fps == 30


def test_a_fractional_frame_rate_is_written_and_read(tmp_path: Path) -> None:
    replace(smooth_motion(0, 5), fps=29.97).write(tmp_path / "clip.npz")
    assert SmplxMotion.read(tmp_path / "clip.npz").fps == 29.97


def test_a_slice_is_a_clip_of_its_frames() -> None:
    motion = smooth_motion(0, 20)
    part = motion[5:12]
    assert len(part) == 7
    np.testing.assert_array_equal(part.poses, motion.poses[5:12])
    np.testing.assert_array_equal(part.expressions, motion.expressions[5:12])
    np.testing.assert_array_equal(part.trans, motion.trans[5:12])
    assert part.betas is motion.betas
    assert len(motion[:0]) == 0


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"poses": np.zeros((20, 156), np.float32)}, "poses"),
        ({"poses": np.zeros((), np.float32)}, "poses"),
        ({"expressions": np.zeros((19, 100), np.float32)}, "expressions"),
        ({"trans": np.zeros((20, 3), np.int64)}, "trans.*int64"),
        ({"betas": np.zeros(10, np.float32)}, "betas"),
        ({"fps": 0}, "frame rate"),
        ({"fps": float("nan")}, "frame rate"),
    ],
)
def test_arrays_that_are_not_one_clip_are_an_error(change: dict[str, Any], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        replace(smooth_motion(0, 20), **change)
