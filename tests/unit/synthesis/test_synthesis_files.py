"""The bundle's folder and the result's npz: whole, exact, and refused where changed."""

import json
import shutil

import numpy as np
import pytest
import torch

from mambatalk.errors import InputError
from mambatalk.files import digest, sha256_file
from mambatalk.synthesis.bundle import Bundle
from mambatalk.synthesis.synthesizer import Synthesizer
from tests.helpers.speech import speech
from tests.helpers.tiny_bundle import tiny_bundle


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bundle") / "b"
    tiny_bundle().save(folder)
    return folder


@pytest.fixture
def copy(saved, tmp_path):
    return shutil.copytree(saved, tmp_path / "b")


def rewrite(copy, **changes):
    """Change bundle.json as somebody would who also mends its digest."""
    about = json.loads((copy / "bundle.json").read_text())
    about.update(changes)
    del about["digest"]
    (copy / "bundle.json").write_text(json.dumps({**about, "digest": digest(about)}))


def refused(copy, message):
    with pytest.raises(InputError, match=message) as error:
        Bundle.load(copy)
    assert "\n" not in str(error.value)


def test_a_saved_bundle_gives_the_same_motion(saved):
    before, after = tiny_bundle(), Bundle.load(saved)
    request = speech(5, words=np.full(150, 4))
    first, second = (Synthesizer(bundle).generate(request) for bundle in (before, after))
    for name in ("poses", "expressions", "trans"):
        np.testing.assert_array_equal(getattr(first, name), getattr(second, name))
    for name in ("vocabulary", "speakers", "fidelity", "context_frames", "window", "config"):
        assert getattr(after, name) == getattr(before, name)
    assert torch.equal(after.rest, before.rest)


def test_a_bundle_is_the_same_bytes_twice(saved, tmp_path):
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
    ],
)
def test_a_changed_byte_is_one_line(copy, name):
    content = bytearray((copy / name).read_bytes())
    content[len(content) // 2] ^= 1
    (copy / name).write_bytes(content)
    refused(copy, f"{name}: expected sha256 [0-9a-f]{{64}}, found sha256")


def test_a_missing_file_is_one_line(copy):
    (copy / "face.safetensors").unlink()
    refused(copy, "face.safetensors: expected sha256 [0-9a-f]{64}, found no such file")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"fidelity": "corrected"', '"fidelity": "published"'),
        ('"window": 64', '"window": 65'),
        ('"30": 1', '"30": 0'),
    ],
)
def test_a_changed_word_in_the_description_is_one_line(copy, old, new):
    text = (copy / "bundle.json").read_text()
    assert old in text
    (copy / "bundle.json").write_text(text.replace(old, new))
    refused(copy, "bundle.json: expected digest [0-9a-f]+, found contents of digest")


@pytest.mark.parametrize("text", ['{"format": 99}', "{}", "[]", "7"])
def test_an_unknown_format_is_one_line(copy, text):
    (copy / "bundle.json").write_text(text)
    refused(copy, "expected format 2")


def test_no_bundle_is_one_line(tmp_path):
    refused(tmp_path, "bundle.json.*found no such file")


@pytest.mark.parametrize("name", ["../outside.json", "/etc/hostname", "sub/rest.json", "..", ""])
def test_names_never_leave_the_folder(copy, name):
    outside = copy.parent / "outside.json"
    outside.write_text("1")
    (copy / "sub").mkdir()
    shutil.copy(copy / "rest.json", copy / "sub" / "rest.json")
    files = json.loads((copy / "bundle.json").read_text())["files"]
    rewrite(copy, files={**files, name: sha256_file(outside)})
    refused(copy, "a name outside the folder|no such file")


def test_a_file_that_is_not_listed_is_not_trusted(copy):
    files = json.loads((copy / "bundle.json").read_text())["files"]
    del files["vocabulary.json"]
    rewrite(copy, files=files)
    refused(copy, "vocabulary.json: expected no file of that name, found sha256")
