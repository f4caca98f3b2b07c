"""The folder of a bundle: written exactly, and rejected if it was changed."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from mambatalk.errors import InputError
from mambatalk.files import digest, sha256_file
from mambatalk.models.vq.quantizer import QuantizerKind
from mambatalk.models.vq.vqvae import VQVAE
from mambatalk.motion.skeleton import PART_DIMS, PARTS
from mambatalk.synthesis.bundle import Bundle
from mambatalk.synthesis.chain import CHAINED_PARTS
from mambatalk.synthesis.history_chain import chains_of_clips
from mambatalk.synthesis.synthesizer import Synthesizer
from tests.helpers.speech import speech
from tests.helpers.stand_in_body import stand_in_body
from tests.helpers.tiny_bundle import CODES, tiny_bundle


def chained_bundle() -> Bundle:
    """Return a bundle with everything that one may have."""
    codes = np.arange(200) // 10 % CODES
    return replace(
        tiny_bundle(),
        chains=chains_of_clips([(0, dict.fromkeys(CHAINED_PARTS, codes))], CODES),
        reach=0.25,
        rest_joints=stand_in_body().rest_joints(torch.zeros(300)),
    )


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bundle") / "b"
    chained_bundle().save(folder)
    return folder


@pytest.fixture
def copy(saved: Path, tmp_path: Path) -> Path:
    return shutil.copytree(saved, tmp_path / "b")


def rewrite(copy: Path, **changes: object) -> None:
    """Change bundle.json and its digest, as an attacker would."""
    description = json.loads((copy / "bundle.json").read_text())
    description.update(changes)
    del description["digest"]
    (copy / "bundle.json").write_text(json.dumps({**description, "digest": digest(description)}))


def assert_rejected(copy: Path, message: str) -> None:
    with pytest.raises(InputError, match=message) as error:
        Bundle.load(copy)
    assert "\n" not in str(error.value)


def test_a_saved_bundle_gives_the_same_motion(saved: Path) -> None:
    before, after = chained_bundle(), Bundle.load(saved)
    request = speech(5, words=np.full(150, 4))
    first, second = (Synthesizer(bundle).generate(request) for bundle in (before, after))
    for name in ("poses", "expressions", "trans"):
        np.testing.assert_array_equal(getattr(first, name), getattr(second, name))
    for name in (
        "vocabulary",
        "speakers",
        "fidelity",
        "context_frames",
        "window",
        "reach",
        "config",
    ):
        assert getattr(after, name) == getattr(before, name)
    assert torch.equal(after.rest, before.rest)
    assert before.rest_joints is not None
    assert after.rest_joints is not None
    assert torch.equal(after.rest_joints, before.rest_joints)


def test_saving_a_loaded_bundle_gives_the_same_bytes(saved: Path, tmp_path: Path) -> None:
    Bundle.load(saved).save(tmp_path / "again")
    names = sorted(path.name for path in saved.iterdir())
    assert sorted(path.name for path in (tmp_path / "again").iterdir()) == names
    assert [sha256_file(saved / name) for name in names] == [
        sha256_file(tmp_path / "again" / name) for name in names
    ]
    assert not [name for name in names if not name.endswith((".safetensors", ".json"))]


@pytest.mark.parametrize(
    "name",
    [
        "generator.safetensors",
        "upper.safetensors",
        "global.json",
        "vocabulary.json",
        "config.json",
        "rest.json",
        "chains.safetensors",
        "rest_joints.json",
    ],
)
def test_a_changed_byte_is_reported(copy: Path, name: str) -> None:
    content = bytearray((copy / name).read_bytes())
    content[len(content) // 2] ^= 1
    (copy / name).write_bytes(content)
    assert_rejected(copy, f"{name}: expected sha256 [0-9a-f]{{64}}, found sha256")


def test_a_missing_file_is_reported(copy: Path) -> None:
    (copy / "face.safetensors").unlink()
    assert_rejected(copy, "face.safetensors: expected sha256 [0-9a-f]{64}, found no such file")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"fidelity": "corrected"', '"fidelity": "published"'),
        ('"window": 64', '"window": 65'),
        ('"30": 1', '"30": 0'),
    ],
)
def test_a_changed_description_is_reported(copy: Path, old: str, new: str) -> None:
    text = (copy / "bundle.json").read_text()
    assert old in text
    (copy / "bundle.json").write_text(text.replace(old, new))
    assert_rejected(copy, "bundle.json: expected digest [0-9a-f]+, found contents of digest")


@pytest.mark.parametrize("text", ['{"format": 99}', "{}", "[]", "7"])
def test_an_unknown_format_is_reported(copy: Path, text: str) -> None:
    (copy / "bundle.json").write_text(text)
    assert_rejected(copy, "expected format 3")


def test_a_folder_without_a_bundle_is_reported(tmp_path: Path) -> None:
    assert_rejected(tmp_path, "bundle.json.*found no such file")


@pytest.mark.parametrize("name", ["../outside.json", "/etc/hostname", "sub/rest.json", "..", ""])
def test_file_names_cannot_leave_the_folder(copy: Path, name: str) -> None:
    outside = copy.parent / "outside.json"
    outside.write_text("1")
    (copy / "sub").mkdir()
    shutil.copy(copy / "rest.json", copy / "sub" / "rest.json")
    files = json.loads((copy / "bundle.json").read_text())["files"]
    rewrite(copy, files={**files, name: sha256_file(outside)})
    assert_rejected(copy, "a name outside the folder|no such file")


def test_a_file_that_is_not_listed_is_rejected(copy: Path) -> None:
    files = json.loads((copy / "bundle.json").read_text())["files"]
    del files["vocabulary.json"]
    rewrite(copy, files=files)
    assert_rejected(copy, "vocabulary.json: expected no file of that name, found sha256")


@pytest.mark.parametrize("kind", ["moving_average", "scalar", "product"])
def test_a_bundle_with_another_quantizer_gives_the_same_motion(
    kind: QuantizerKind, tmp_path: Path
) -> None:
    bundle = chained_bundle()
    torch.manual_seed(0)
    others = {part: VQVAE(PART_DIMS[part], 12, 2, CODES, quantizer=kind).eval() for part in PARTS}
    before = replace(bundle, auto_encoders={**bundle.auto_encoders, **others})
    before.save(tmp_path / "b")
    request = speech(5)
    first, second = (
        Synthesizer(each).generate(request) for each in (before, Bundle.load(tmp_path / "b"))
    )
    for name in ("poses", "expressions", "trans"):
        np.testing.assert_array_equal(getattr(first, name), getattr(second, name))
    assert first.poses.std(0).max() > 0


def test_auto_encoders_that_the_generator_does_not_fit_are_rejected(tmp_path: Path) -> None:
    bundle = tiny_bundle()
    other = VQVAE(PART_DIMS["hands"], 12, 2, CODES * 2).eval()
    replace(bundle, auto_encoders={**bundle.auto_encoders, "hands": other}).save(tmp_path / "other")
    assert_rejected(
        tmp_path / "other", "16 codes that the generator predicts, found 32 .* in hands"
    )
