"""Files of a release."""

import json
import os
import zipfile
from pathlib import Path

import pytest

from mambatalk.errors import InputError
from tasks.tools.release import check_croissant, write_release, write_sbom, write_zip

ROOT = Path(__file__).parents[3]


def test_the_same_bundle_gives_the_same_archive(tmp_path: Path) -> None:
    bundle = tmp_path / "bundle"
    bundle.mkdir()
    (bundle / "weights.safetensors").write_bytes(b"weights")
    (bundle / "bundle.json").write_text("{}")
    write_zip(bundle, tmp_path / "first.zip")
    os.utime(bundle / "bundle.json", (0, 0))
    write_zip(bundle, tmp_path / "second.zip")
    assert (tmp_path / "first.zip").read_bytes() == (tmp_path / "second.zip").read_bytes()
    with zipfile.ZipFile(tmp_path / "first.zip") as archive:
        assert archive.read("weights.safetensors") == b"weights"


@pytest.mark.packaging
def test_the_sbom_lists_this_environment(tmp_path: Path) -> None:
    write_sbom(ROOT, tmp_path / "sbom.json")
    sbom = json.loads((tmp_path / "sbom.json").read_text())
    assert sbom["bomFormat"] == "CycloneDX"
    assert sbom["metadata"]["component"]["name"] == "mambatalk"
    assert {"torch", "safetensors", "mlflow"} <= {one["name"] for one in sbom["components"]}


def test_a_folder_with_other_files_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("kept")
    with pytest.raises(InputError, match="without SHA256SUMS"):
        write_release(ROOT, tmp_path)
    assert (tmp_path / "thesis.tex").read_text() == "kept"


def test_a_description_of_other_data_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "croissant.json"
    path.write_text(json.dumps({"identifier": "sha256:abc"}))
    check_croissant(path, "abc")
    with pytest.raises(InputError, match=r"expected the snapshot .* sha256:def, found sha256:abc"):
        check_croissant(path, "def")
