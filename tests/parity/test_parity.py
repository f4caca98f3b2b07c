"""`mambatalk parity`: all published numbers are met, and a wrong number is found."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner, Result

from mambatalk.cli.published import app
from mambatalk.errors import InputError
from mambatalk.published import building
from mambatalk.published.fixture import Fixture, Measure, compare_codes, relative_error
from mambatalk.published.keymap import Kind, Translation, translate
from mambatalk.published.parity import CHECKS, NEEDS, run_parity
from tests.parity.published_form import (
    Shapes,
    audio_encoder,
    auto_encoder,
    mamba_model,
    mamba_scan,
    random_state,
)

FIXTURES = Path(__file__).parents[2].parent / "shared" / "fixtures"
needs_fixtures = pytest.mark.skipif(
    not FIXTURES.is_dir(), reason="no ../shared/fixtures beside the checkout"
)


def run(*arguments: object) -> Result:

    return CliRunner().invoke(app, ["parity", *map(str, arguments)])


@needs_fixtures
@pytest.mark.parametrize("name", CHECKS)
def test_every_file_is_within_its_bars(name: str) -> None:
    with torch.no_grad():
        measures = [*CHECKS[name](Fixture(FIXTURES / f"{name}.npz"))]
    assert measures
    assert [m for m in measures if not m.ok] == []


@needs_fixtures
def test_the_json_report_covers_every_fixture() -> None:
    result = run(FIXTURES, "--json", "--complete")
    report = json.loads(result.stdout)
    assert result.exit_code == 0
    assert report["ok"]
    assert report["absent"] == []
    assert {row["file"] for row in report["measures"]} == {
        path.stem for path in FIXTURES.glob("*.npz")
    }


@needs_fixtures
def test_absent_files_are_listed_and_fail_only_with_complete(tmp_path: Path) -> None:
    shutil.copy(FIXTURES / "rotations.npz", tmp_path)
    result = run(tmp_path)
    assert result.exit_code == 0
    assert "absent: generator.npz" in result.stdout
    assert run(tmp_path, "--complete").exit_code == 1


def corrupt(source: Path, target: Path, key: str) -> None:
    """Copy a file with one array changed by a thousandth of its size, or in one integer entry."""
    with np.load(source) as arrays:
        changed = {name: arrays[name] for name in arrays.files}
    array = changed[key].copy()
    if array.dtype.kind == "f":
        array = array + np.float32(1e-3) * np.abs(array).max()
    else:
        array.flat[0] = (array.flat[0] + 1) % max(2, array.max())
    np.savez(target, **(changed | {key: array.astype(changed[key].dtype)}))


@needs_fixtures
@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("rotations", "axis_angle_back"),
        ("vqvae_face", "index"),
        ("vqvae_lower", "reconstruction"),
        ("global_motion", "reconstruction"),
        ("fgd_encoder", "latent"),
        ("audio_encoder_2ch", "y"),
        ("mamba_block", "y"),
        ("selective_scan", "grad_A"),
        ("mamba_scan", "state/out.weight"),
        ("mamba_model", "state/norm_f.bias"),
        ("generator", "random/cls_lower"),
        ("generator", "loss_index_full"),
        ("features", "contact"),
        ("rollout", "published/window/code_upper"),
        ("rollout", "exact_hop/window/audio_start"),
        ("rollout", "one_window/rec_trans"),
        ("metrics", "bc_published"),
        ("metrics", "fgd"),
    ],
)
def test_a_wrong_number_fails(tmp_path: Path, name: str, key: str) -> None:
    if name in NEEDS:
        shutil.copy(FIXTURES / f"{NEEDS[name]}.npz", tmp_path)
    corrupt(FIXTURES / f"{name}.npz", tmp_path / f"{name}.npz", key)
    result = run(tmp_path)
    assert result.exit_code == 1
    assert " no " in result.stdout


@needs_fixtures
def test_derived_arrays_of_another_network_are_rejected(tmp_path: Path) -> None:
    for name, key in (
        ("generator", "state/local_scan.position_embeddings.pe"),
        ("fgd_encoder", "state/encoder.layers.0.0.residual.0.mask"),
    ):
        corrupt(FIXTURES / f"{name}.npz", tmp_path / f"{name}.npz", key)
        with pytest.raises(InputError, match="other values than those we compute"):
            [*CHECKS[name](Fixture(tmp_path / f"{name}.npz"))]


@needs_fixtures
def test_left_out_arrays_have_a_reason() -> None:
    left_out = Fixture(FIXTURES / "generator.npz").state("generator").left_out
    assert {key.split(".")[1] for key in left_out} == {"face_q_self_attn", "position_embeddings"}
    assert all(entry.reason for entry in left_out.values())


def test_an_empty_or_missing_folder_and_a_damaged_file_are_reported(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no known reference file"):
        run_parity(tmp_path)
    with pytest.raises(InputError, match="no such folder"):
        run_parity(tmp_path / "nowhere")
    (tmp_path / "rotations.npz").write_bytes(b"PK\x03\x04 not a zip")
    with pytest.raises(InputError, match=r"rotations\.npz"):
        run_parity(tmp_path)
    np.savez(tmp_path / "rotations.npz", axis_angle=np.zeros((2, 3), np.float32))
    with pytest.raises(InputError, match="no array 'matrix'"):
        run_parity(tmp_path)


@needs_fixtures
@pytest.mark.parametrize(
    ("name", "arrays"),
    [
        ("vqvae_face", {"x": np.zeros((1, 64, 180), np.float32)}),
        ("vqvae_face", {"x": np.array(["text"])}),
        ("vqvae_face", {"index": np.full((2, 64), -1)}),
        ("features", {"wave": np.zeros(0, np.float32)}),
        ("features", {"ctc_ids": np.zeros(0, np.int64)}),
        ("fgd_encoder", {"parents": np.arange(55) + 100}),
        ("generator", {"speaker": np.array(0)}),
    ],
)
def test_arrays_that_fit_no_network_are_reported(
    tmp_path: Path, name: str, arrays: dict[str, np.ndarray]
) -> None:
    with np.load(FIXTURES / f"{name}.npz") as whole:
        assert set(arrays) <= set(whole.files)
        np.savez(tmp_path / f"{name}.npz", **{**{key: whole[key] for key in whole.files}, **arrays})
    error = run(tmp_path).exception
    assert isinstance(error, InputError)
    assert f"{name}.npz: " in str(error)


@needs_fixtures
@pytest.mark.parametrize("seed", range(12))
def test_a_damaged_file_raises_only_input_errors(tmp_path: Path, seed: int) -> None:
    data = bytearray((FIXTURES / "rotations.npz").read_bytes())
    random = np.random.default_rng(seed)
    for place in random.integers(len(data), size=30):
        data[place] ^= 1 << int(random.integers(8))
    (tmp_path / "rotations.npz").write_bytes(data)
    assert isinstance(run(tmp_path).exception, InputError | SystemExit | None)


def test_a_pickle_inside_an_npz_is_rejected(tmp_path: Path) -> None:
    np.savez(tmp_path / "rotations.npz", axis_angle=np.array([{"a": 1}], dtype=object))
    with pytest.raises(InputError, match=r"rotations\.npz"):
        run_parity(tmp_path)


@pytest.mark.parametrize(
    ("build", "kind", "shapes", "x"),
    [
        (building.build_vqvae, "auto_encoder", auto_encoder(20, 12, 3, 10), (1, 9, 20)),
        (building.build_auto_encoder, "auto_encoder", auto_encoder(7, 5, 1), (2, 9, 7)),
        (building.build_audio_encoder, "audio_encoder", audio_encoder(4, 6, 10), (1, 9000, 4)),
        (building.build_mamba_scan, "mamba", mamba_scan(24, 200, 9, 3), (2, 5, 24)),
        (building.build_mamba_attention, "mamba", mamba_model(40, 300), (2, 5, 40)),
    ],
)
def test_sizes_are_read_from_the_arrays(
    build: Callable[[Translation], torch.nn.Module], kind: Kind, shapes: Shapes, x: tuple[int, ...]
) -> None:
    module = build(
        translate({f"module.{k}": v for k, v in random_state(shapes).items()}, kind, where="test")
    )
    module(torch.zeros(x))


def test_a_missing_surplus_or_misshapen_array_is_named() -> None:
    state = random_state(auto_encoder(7, 5, 2))
    for change, words in (
        ({"decoder.main.0.model.0.bias": None}, "no such key"),
        ({"decoder.main.99.bias": torch.zeros(1)}, "expected no such key"),
        ({"decoder.main.0.model.0.bias": torch.zeros(4)}, r"shape \(4,\)"),
    ):
        broken = {key: value for key, value in (state | change).items() if value is not None}
        with pytest.raises(InputError, match=words):
            building.build_auto_encoder(translate(broken, "auto_encoder", where="test"))


def test_relative_error_as_defined() -> None:
    zero, one = torch.zeros(3), torch.ones(3)
    assert relative_error(zero, zero) == 0
    assert relative_error(one, zero) == float("inf")
    assert relative_error(one * 1.5, one) == 0.5
    assert relative_error(torch.tensor([float("nan")]), torch.ones(1)) == float("inf")
    assert relative_error(torch.ones(2), torch.ones(3)) == float("inf")
    assert not Measure("file", "quantity", float("nan"), 1.0).ok


def test_near_ties_of_codes_pass_and_are_resolved_as_published() -> None:
    published = torch.tensor([1, 1])
    tie = compare_codes("file", "index", -torch.tensor([[1.0, 1.0 + 5e-7], [2.0, 1.0]]), published)
    assert tie.measure.ok
    assert tie.measure.note == "1 near ties"
    assert tie.resolved.tolist() == [1, 1]
    wrong = compare_codes(
        "file", "index", -torch.tensor([[1.0, 1.0 + 1e-4], [2.0, 1.0]]), published
    )
    assert not wrong.measure.ok
    assert wrong.resolved.tolist() == [0, 1]
    assert not compare_codes("file", "index", torch.zeros(2, 2), torch.tensor([0, 2])).measure.ok


@needs_fixtures
def test_a_rollout_without_its_generator_is_absent(tmp_path: Path) -> None:
    for name in ("rollout", "rotations"):
        shutil.copy(FIXTURES / f"{name}.npz", tmp_path)
    assert "rollout" in run_parity(tmp_path).absent
