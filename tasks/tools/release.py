"""Write the files that go with a release: `python -m tasks.tools.release FOLDER`.

| file | content |
|---|---|
| `bundle.zip` | the bundle of this checkout, the same bytes for the same bundle |
| `MODEL_CARD.md` | data, metrics with intervals, limits, licence |
| `sbom.cdx.json` | every package of this environment, as CycloneDX 1.6 |
| `DATA_CARD.md` | the data: origin, counts, known faults, and what the checks cannot see |
| `croissant.json` | the snapshot of the data, as `mambatalk croissant` describes it |
| `signature.json` | Ed25519 over `bundle.json`, if `MAMBATALK_SIGNING_KEY` names a key |
| `SHA256SUMS` | digests of the others, for `sha256sum --check` |

The SBOM needs `pip install 'mambatalk[operations]'`.
"""

import os
import shutil
import subprocess
import sys
import zipfile
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Final

import typer

from mambatalk.config import load_config
from mambatalk.errors import InputError
from mambatalk.files import atomic_directory, read_json, sha256_file
from mambatalk.serving.signature import SIGNATURE_FILE, SIGNING_KEY, sign_bundle
from mambatalk.synthesis.bundle import Bundle
from tasks.registry.registration import CARD, card_of_build, check_auto_encoders, version_tags
from tasks.runtime.command import run_command
from tasks.runtime.paths import Paths

SUMS: Final = "SHA256SUMS"
_EPOCH: Final = (1980, 1, 1, 0, 0, 0)
"""The earliest time that a zip file can hold."""


def write_release(root: Path, folder: Path, croissant: Path | None = None) -> list[Path]:
    """Write the files of a release.

    Args:
        root: Root of a checkout in which the pipeline is built.
        folder: Folder to create or to replace, whole or not at all.
        croissant: File of `mambatalk croissant` to add, which states the data's name and licence.

    Returns:
        The files, sorted by name.

    Raises:
        InputError: There is no bundle, it is damaged, or its auto-encoders are not those of its
            generator; the SBOM cannot be made; the signing key cannot be read; `croissant`
            describes another snapshot; or the folder holds something else.

    """
    if folder.exists() and not (folder / SUMS).is_file():
        raise InputError(
            folder,
            f"expected a new folder or an earlier release, found a folder without {SUMS}",
            "give the name of a folder that does not exist",
        )
    paths = Paths(root.resolve())
    config = load_config(paths.params)
    Bundle.load(paths.bundle)
    check_auto_encoders(paths)
    description = read_json(paths.bundle / "bundle.json")
    tags = version_tags(config, paths, description)
    if croissant:
        check_croissant(croissant, tags["snapshot_digest"])
    with atomic_directory(folder) as temporary:
        write_zip(paths.bundle, temporary / "bundle.zip")
        card = card_of_build(config, paths, description, tags)
        (temporary / CARD).write_text(card, encoding="utf-8")
        write_sbom(paths.root, temporary / "sbom.cdx.json")
        if paths.data_card.is_file():
            shutil.copyfile(paths.data_card, temporary / paths.data_card.name)
        if croissant:
            shutil.copyfile(croissant, temporary / "croissant.json")
        if key := os.environ.get(SIGNING_KEY):
            sign_bundle(paths.bundle, temporary / SIGNATURE_FILE, Path(key))
        sums = [f"{sha256_file(path)}  {path.name}\n" for path in sorted(temporary.iterdir())]
        (temporary / SUMS).write_text("".join(sums), encoding="utf-8")
    return sorted(folder.iterdir())


def check_croissant(path: Path, digest: str) -> None:
    """Check that a Croissant file describes a snapshot.

    Args:
        path: File of `mambatalk croissant`.
        digest: Digest of the snapshot.

    Raises:
        InputError: The file describes another snapshot, or cannot be read.

    """
    found = read_json(path).get("identifier")
    if found != f"sha256:{digest}":
        raise InputError(
            path,
            f"expected the snapshot that the bundle was trained on, sha256:{digest}, found {found}",
            "describe that one: mambatalk croissant SNAPSHOT",
        )


def write_zip(source: Path, target: Path) -> None:
    """Write a folder's files into a zip file whose bytes depend on nothing else.

    Weights do not shrink, so nothing is compressed.
    """
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
        for path in sorted(path for path in source.rglob("*") if path.is_file()):
            entry = zipfile.ZipInfo(path.relative_to(source).as_posix(), _EPOCH)
            entry.external_attr = 0o644 << 16
            with path.open("rb") as content, archive.open(entry, "w", force_zip64=True) as packed:
                while block := content.read(1 << 20):
                    packed.write(block)


def write_sbom(root: Path, target: Path) -> None:
    """Write the packages of the running interpreter's environment as CycloneDX JSON.

    Raises:
        InputError: cyclonedx-bom is not installed, or it fails.

    """
    if find_spec("cyclonedx_py") is None:
        raise InputError(
            "sbom.cdx.json",
            "expected the package cyclonedx-bom, found it missing",
            "pip install 'mambatalk[operations]'",
        )
    command = [sys.executable, "-m", "cyclonedx_py", "environment", "--output-reproducible"]
    command += ["--pyproject", str(root / "pyproject.toml"), "--output-file", str(target)]
    done = subprocess.run([*command, sys.executable], capture_output=True, text=True, check=False)
    if done.returncode:
        raise InputError("sbom.cdx.json", done.stderr.strip()[-500:], "see the message")


def main(
    folder: Annotated[Path, typer.Argument(help="Folder to create or to replace.")],
    root: Annotated[Path, typer.Option(help="Root of a built checkout.")] = Path(),
    croissant: Annotated[
        Path | None, typer.Option(help="File of `mambatalk croissant` about the snapshot.")
    ] = None,
) -> None:
    """Write the files that go with a release."""
    for path in write_release(root, folder, croissant):
        sys.stdout.write(f"{path}\n")


if __name__ == "__main__":
    run_command(main, "tasks.tools.release", __doc__)
