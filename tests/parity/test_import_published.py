"""`mambatalk import-published`: published files, small and of full size, become a bundle."""

import os
import pickle
import re
import sys
import tracemalloc
import types
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, cast
from unittest.mock import patch

import numpy as np
import pytest
import torch
from typer.testing import CliRunner, Result

from mambatalk.cli.published import app
from mambatalk.errors import InputError
from mambatalk.fidelity import CORRECTED
from mambatalk.files import sha256_file
from mambatalk.models.fgd.network import BoneBlock, FGDEncoder
from mambatalk.published.checkpoints import read_checkpoint, read_vocabulary
from mambatalk.published.fgd import import_fgd_encoder
from mambatalk.published.importing import import_published_files, to_bundle
from mambatalk.synthesis.bundle import Bundle
from mambatalk.synthesis.layout import Speech
from mambatalk.synthesis.synthesizer import Synthesizer
from tests.parity.published_form import (
    AUTO_ENCODER_FILES,
    Shapes,
    auto_encoder,
    fgd_encoder,
    generator,
    parameters,
    random_state,
)

Edit = Callable[[dict[Any, Any]], object]
"""Changes a stored state dict in place."""

SMALL_FILES = {
    "face.bin": auto_encoder(106, 16, 2, 16),
    "upper.bin": auto_encoder(78, 16, 2, 16),
    "hands.bin": auto_encoder(180, 16, 2, 16),
    "lower_foot.bin": auto_encoder(61, 16, 4, 16),
    "foot.bin": auto_encoder(61, 16, 4),
    "mambatalk_100.bin": generator(hidden=32, audio=32, width=8, motion=16, codes=16, words=40),
}


def write_files(folder: Path, files: Mapping[str, Shapes], prefix: str = "") -> None:
    for seed, (name, shapes) in enumerate(files.items()):
        state = {f"{prefix}{key}": value for key, value in random_state(shapes, seed).items()}
        torch.save({"model_state": state, "epoch": 100}, folder / name)


def published_fgd() -> dict[str, torch.Tensor]:
    """Return an FGD file: random weights, with the masks and the pooling of the skeleton."""
    state = random_state(fgd_encoder())
    for layer, block in enumerate(cast(Iterable[BoneBlock], FGDEncoder(240).blocks)):
        prefix = f"encoder.layers.{layer}.0"
        for name, conv in (("residual.0", block.residual), ("shortcut", block.shortcut)):
            state[f"{prefix}.{name}.mask"] = conv.mask.expand_as(conv.weight).clone()
        if f"{prefix}.common.0.weight" in state:
            state[f"{prefix}.common.0.weight"] = block.pooling
    return state


def write_vocabulary(
    path: Path,
    words: dict[str, int],
    module: str = "__main__",
    name: str = "Vocab",
    **extra: object,
) -> None:
    """Pickle an object whose class does not exist when it is read."""
    made = types.ModuleType(module)
    cls = type(name, (), {"__module__": module})
    setattr(made, name, cls)
    vocabulary = cls()
    vocabulary.__dict__.update(
        name="speech",
        word2index=words,
        n_words=len(words),
        word_embedding_weights=np.ones((4, 300), np.float32),
        **extra,
    )
    parent = module.split(".")[0]
    with patch.dict(sys.modules, {parent: types.ModuleType(parent), module: made}):
        path.write_bytes(pickle.dumps(vocabulary))


@pytest.fixture
def small(tmp_path: Path) -> Path:
    folder = tmp_path / "published"
    folder.mkdir()
    write_files(folder, SMALL_FILES, prefix="module.")
    return folder


def run(folder: Path, out: Path) -> Result:
    return CliRunner().invoke(app, ["import-published", str(folder), "--out", str(out)])


@pytest.mark.slow
def test_the_imported_bundle_generates_motion(small: Path, tmp_path: Path) -> None:
    write_vocabulary(small / "vocab.pkl", {"hello": 4, "world": 5})
    torch.save({"model_state": published_fgd()}, small / "AESKConv_240_100.bin")
    result = run(small, tmp_path / "bundle")
    assert result.exit_code == 0, result.output
    bundle = Bundle.load(tmp_path / "bundle")
    assert bundle.fidelity == "published"
    assert bundle.vocabulary == {"hello": 4, "world": 5}
    assert bundle.speakers[2] == 1
    assert len(bundle.speakers) == 25
    sound = np.random.default_rng(0).normal(size=3 * 16_000).astype(np.float32)
    speech = Speech(waveform=sound, speaker_id=2)
    motion = Synthesizer(bundle, rules=CORRECTED).generate(speech)
    assert motion.poses.shape == (90, 165)
    assert np.isfinite(motion.poses).all()


def test_every_key_is_used_or_listed_with_a_reason(small: Path) -> None:
    calls: list[tuple[int, int]] = []
    model = import_published_files(small, progress=lambda done, total: calls.append((done, total)))
    files = len(model.summaries)
    assert calls == [(k, files) for k in range(1, files + 1)]
    for summary in model.summaries:
        assert summary.used + len(summary.left_out) == len(SMALL_FILES[summary.file])
        assert summary.parameters == parameters(SMALL_FILES[summary.file])
        assert all(summary.left_out.values())
    unused = {key for key in SMALL_FILES["mambatalk_100.bin"] if ".face_q_self_attn." in key}
    assert unused <= set(model.summaries[-1].left_out)


def test_weights_are_loaded_under_the_right_names(small: Path) -> None:
    model = import_published_files(small)
    stored = torch.load(small / "mambatalk_100.bin", weights_only=True)["model_state"]
    for published, ours in (
        ("speaker_encoder_body.weight", model.generator.speaker["body"].weight),
        ("local_scan.hands_proj.weight", model.generator.local_scan.mix["hands"].weight),
        (
            "global_scan.body_scan.layers.0.mixer.A_log",
            model.generator.global_scan.motion_scan.layers[0].mixer.A_log,
        ),
    ):
        assert torch.equal(stored[f"module.{published}"], ours)
    lower = torch.load(small / "lower_foot.bin", weights_only=True)["model_state"]
    assert torch.equal(
        lower["module.quantizer.embedding.weight"],
        model.auto_encoders["lower"].quantizer.table,
    )


def test_the_fgd_encoder_can_be_imported_by_itself(tmp_path: Path) -> None:
    path = tmp_path / "AESKConv_240_100.bin"
    torch.save({"model_state": published_fgd()}, path)
    encoder = import_fgd_encoder(path)
    assert sum(p.numel() for p in encoder.parameters()) == 1_201_080
    assert encoder(torch.zeros(1, 32, 330)).shape == (1, 2, 240)
    assert encoder.source == sha256_file(path)
    assert encoder.origin == "unknown", "as large as the published one, but another file"


def test_a_missing_swapped_or_wrong_file_is_named(small: Path, tmp_path: Path) -> None:
    (small / "upper.bin").rename(small / "kept.bin")
    with pytest.raises(InputError, match=r"upper\.bin: expected .*, found no such file"):
        import_published_files(small)
    (small / "hands.bin").rename(small / "upper.bin")
    (small / "kept.bin").rename(small / "hands.bin")
    with pytest.raises(
        InputError, match="expected an auto-encoder of 78 channels, found one of 180"
    ):
        import_published_files(small)
    (small / "upper.bin").rename(small / "mambatalk_100.bin")
    (small / "hands.bin").rename(small / "upper.bin")
    torch.save({"model_state": random_state(SMALL_FILES["hands.bin"])}, small / "hands.bin")
    with pytest.raises(InputError, match=r"mambatalk_100\.bin: .* found no such key"):
        import_published_files(small)


def change(folder: Path, file: str, edit: Edit) -> None:
    stored = torch.load(folder / file, weights_only=True)
    edit(stored["model_state"])
    torch.save(stored, folder / file)


@pytest.mark.parametrize(
    ("file", "edit", "named"),
    [
        (
            "mambatalk_100.bin",
            lambda state: state["module.global_scan.learnable_query"].fill_(torch.nan),
            "not finite",
        ),
        (
            "face.bin",
            lambda state: state.update({"encoder.main.0.weight": torch.zeros(3)}),
            "found a second one",
        ),
        (
            "face.bin",
            lambda state: state.update({"encoder.0.weight": torch.zeros(3)}),
            "found a second one",
        ),
        (
            "mambatalk_100.bin",
            lambda state: state.update(
                {"module.global_scan.face_q_self_attn.junk": torch.zeros(3)}
            ),
            "face_q_self_attn.junk",
        ),
        ("face.bin", lambda state: state.update({0: torch.zeros(3)}), "no state dict"),
        (
            "face.bin",
            lambda state: state.update(
                {
                    "module.encoder.main.0.weight": state["module.encoder.main.0.weight"].to(
                        torch.int64
                    )
                }
            ),
            "int64",
        ),
        (
            "face.bin",
            lambda state: state.update(
                {
                    "module.encoder.main.0.weight": state["module.encoder.main.0.weight"].to(
                        torch.complex64
                    )
                }
            ),
            "complex64",
        ),
        (
            "foot.bin",
            lambda state: state.update({"module.encoder.main.0.weight": torch.zeros(())}),
            "do not fit",
        ),
        (
            "foot.bin",
            lambda state: state.update({"module.encoder.main.3000000000.bias": torch.zeros(3)}),
            "found layer 3000000000",
        ),
        (
            "mambatalk_100.bin",
            lambda state: state.update(
                {"module.local_scan.position_embeddings.pe": torch.zeros(3)}
            ),
            "do not fit",
        ),
        (
            "mambatalk_100.bin",
            lambda state: state.update(
                {
                    "module.global_scan.position_embeddings.pe": state[
                        "module.global_scan.position_embeddings.pe"
                    ].to(torch.complex64)
                }
            ),
            "other values",
        ),
        (
            "mambatalk_100.bin",
            lambda state: state.update(
                {"module.global_scan.face_q_self_attn.layers.0.norm1.junk": torch.zeros(3)}
            ),
            "norm1.junk",
        ),
        (
            "mambatalk_100.bin",
            lambda state: state.update({"module.speaker_encoder_body.weight": torch.zeros(25, 30)}),
            "must be divisible",
        ),
    ],
    ids=range(13),
)
def test_wrong_contents_are_reported_and_nothing_is_written(
    small: Path, tmp_path: Path, file: str, edit: Edit, named: str
) -> None:
    change(small, file, edit)
    error = run(small, tmp_path / "bundle").exception
    assert isinstance(error, InputError)
    assert named in str(error)
    assert not (tmp_path / "bundle").exists()


@pytest.mark.parametrize(("codes", "width"), [(8, 16), (16, 24)])
def test_auto_encoders_of_another_generator_are_rejected(
    small: Path, codes: int, width: int
) -> None:
    # Their names and shapes are valid; only synthesis would fail.
    write_files(small, {"upper.bin": auto_encoder(78, width, 2, codes)}, prefix="module.")
    with pytest.raises(
        InputError, match=f"expected 16 codes of 16 channels, .* found {codes} codes of {width}"
    ):
        import_published_files(small)


def test_tied_layers_are_saved_separately(small: Path, tmp_path: Path) -> None:
    name = "module.text_pre_encoder_{}.weight"
    change(
        small,
        "mambatalk_100.bin",
        lambda state: state.update({name.format("face"): state[name.format("body")]}),
    )
    assert run(small, tmp_path / "bundle").exit_code == 0
    fusion = Bundle.load(tmp_path / "bundle").generator.fusion
    assert torch.equal(fusion["face"].embedding.weight, fusion["body"].embedding.weight)


@pytest.mark.parametrize(
    "pickled",
    [
        b"cnumpy\nndarray\n(\x8a\x06\x00\x00\x00\x00\x40\x00tR.",
        b"cnumpy._core.multiarray\nscalar\n(cnumpy\ndtype\n(S'V2147483647'\ntRtR.",
    ],
    ids=["array", "scalar"],
)
def test_a_hostile_vocabulary_cannot_allocate_memory(tmp_path: Path, pickled: bytes) -> None:
    (tmp_path / "vocab.pkl").write_bytes(pickled)
    tracemalloc.start()
    with pytest.raises(InputError, match="expected a pickled Vocab"):
        read_vocabulary(tmp_path / "vocab.pkl")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**20


def test_damaged_word_vectors_do_not_matter(tmp_path: Path) -> None:
    path = tmp_path / "vocab.pkl"
    write_vocabulary(path, {"a": 4})
    assert path.read_bytes().count(b"f4") == 1
    path.write_bytes(path.read_bytes().replace(b"f4", b"f9"))
    assert read_vocabulary(path) == {"a": 4}


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_a_damaged_file_raises_only_input_errors(small: Path, tmp_path: Path) -> None:
    write_vocabulary(small / "vocab.pkl", {"hello": 4}, scalar=np.float64(1.5))
    random = np.random.default_rng(0)
    readers: list[tuple[str, Callable[[Path], object], int]] = [
        ("face.bin", read_checkpoint, 64),
        ("vocab.pkl", read_vocabulary, 0),
    ]
    for file, read, start in readers:
        whole = (small / file).read_bytes()
        rejected = 0
        for _ in range(200):
            data = bytearray(whole)
            for place in random.integers(start, start + 300, size=3):
                data[place] = random.integers(256)
            (tmp_path / file).write_bytes(data)
            try:
                read(tmp_path / file)
            except InputError:
                rejected += 1
        assert rejected > 20


@pytest.mark.parametrize(
    ("value", "named"),
    [
        (torch.zeros(3).to_sparse(), "dense array"),
        (torch.zeros(3, device="meta"), "dense array"),
        (torch.zeros(1).expand(2**40), "dense array"),
        (torch.tensor([1e39], dtype=torch.float64), "not finite"),
    ],
    ids=["sparse", "without data", "expanded", "too large for float32"],
)
def test_tensors_that_are_not_plain_and_finite_are_rejected(
    tmp_path: Path, value: torch.Tensor, named: str
) -> None:
    torch.save({"model_state": {"encoder.main.0.weight": value}}, tmp_path / "face.bin")
    with pytest.raises(InputError, match=rf"face\.bin: encoder\.main\.0\.weight: .*{named}"):
        read_checkpoint(tmp_path / "face.bin")


def test_nothing_is_written_if_a_file_is_damaged(small: Path, tmp_path: Path) -> None:
    (small / "foot.bin").write_bytes(b"not a checkpoint")
    result = run(small, tmp_path / "bundle")
    assert isinstance(result.exception, InputError)
    assert not (tmp_path / "bundle").exists()


class Attack:
    """Runs a command when it is unpickled."""

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, ("touch attacked",)


def test_a_checkpoint_cannot_run_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"model_state": {"a": torch.zeros(1)}, "opt": Attack()}, "face.bin")
    with pytest.raises(InputError, match="cannot be read as tensors only"):
        read_checkpoint(tmp_path / "face.bin")
    assert not (tmp_path / "attacked").exists()


@pytest.mark.parametrize("module", ["__main__", "dataloaders.build_vocab", "utils.anything"])
def test_the_module_of_the_vocabulary_class_does_not_matter(tmp_path: Path, module: str) -> None:
    write_vocabulary(
        tmp_path / "vocab.pkl", {"a": 4, "b": 5}, module=module, scalar=np.float64(1.5)
    )
    assert read_vocabulary(tmp_path / "vocab.pkl") == {"a": 4, "b": 5}


@pytest.mark.parametrize(
    "stored",
    [
        Attack(),
        {"word2index": Attack()},
        [1, 2],
        eval,
        np.array([Attack()], dtype=object),
        re.compile("a"),
    ],
)
def test_any_other_pickle_is_rejected_without_running_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stored: object
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "vocab.pkl").write_bytes(pickle.dumps(stored))
    with pytest.raises(InputError, match="expected a pickled Vocab"):
        read_vocabulary(tmp_path / "vocab.pkl")
    assert not (tmp_path / "attacked").exists()


def test_another_class_name_is_rejected(tmp_path: Path) -> None:
    write_vocabulary(tmp_path / "vocab.pkl", {"a": 4}, name="Vocabulary")
    with pytest.raises(InputError, match=r"__main__\.Vocabulary"):
        read_vocabulary(tmp_path / "vocab.pkl")


def test_a_vocabulary_larger_than_the_embedding_is_rejected(small: Path) -> None:
    write_vocabulary(small / "vocab.pkl", {"a": 40})
    with pytest.raises(InputError, match="found ids up to 40"):
        import_published_files(small)


@pytest.mark.slow
def test_files_of_full_size_have_the_published_number_of_parameters(tmp_path: Path) -> None:
    files = {**AUTO_ENCODER_FILES, "mambatalk_100.bin": generator()}
    write_files(tmp_path, files)
    model = import_published_files(tmp_path)
    counts = {summary.file: summary.parameters for summary in model.summaries}
    assert counts == {
        "face.bin": 2_231_168,
        "upper.bin": 2_172_648,
        "hands.bin": 2_408_472,
        "lower_foot.bin": 3_714_325,
        "foot.bin": 3_648_789,
        "mambatalk_100.bin": 199_366_553,
    }
    ours = sum(p.numel() for p in model.generator.parameters())
    assert 199_366_553 - ours == 3_546_624
    to_bundle(model).save(tmp_path / "bundle")
    loaded = Bundle.load(tmp_path / "bundle").generator
    assert all(
        torch.equal(a, b)
        for a, b in zip(loaded.parameters(), model.generator.parameters(), strict=True)
    )
