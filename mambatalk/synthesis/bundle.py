"""The release unit: a generator with the very auto-encoders, vocabulary and settings it was trained
with.

A folder of safetensors and JSON. Codes mean nothing against another code book, so the parts are
never shipped apart, and `bundle.json` holds a digest of each and one of itself.
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mambatalk.errors import InputError
from mambatalk.fidelity import Fidelity, FidelityRules
from mambatalk.files import atomic_directory, digest, read_json, sha256_file, write_json
from mambatalk.models.generator.network import Generator
from mambatalk.models.generator.storage import load_generator, save_generator
from mambatalk.models.vq.storage import load_auto_encoder, save_auto_encoder
from mambatalk.models.vq.vqvae import VQVAE
from mambatalk.models.vq.vqvae import AutoEncoder as GlobalNet
from mambatalk.motion.skeleton import AUTO_ENCODERS, PARTS, AutoEncoder, Part

FORMAT = 2


@dataclass(frozen=True, kw_only=True)
class Bundle:
    """All that synthesis needs."""

    generator: Generator
    auto_encoders: dict[AutoEncoder, VQVAE | GlobalNet]
    vocabulary: dict[str, int]
    speakers: dict[int, int]
    """Speaker id to index."""
    fidelity: Fidelity
    """What it was trained with; synthesis follows it unless told otherwise."""
    context_frames: int
    window: int
    rest: Tensor
    """Motion (337,) that a clip starts from where no other is given."""
    config: dict[str, Any]
    """The parameters it was made with, for the record."""

    @property
    def rules(self) -> FidelityRules:
        """The behaviour that `fidelity` selects."""
        return FidelityRules.of(self.fidelity)

    @property
    def global_net(self) -> GlobalNet:
        """The auto-encoder that turns legs into ground velocity."""
        network = self.auto_encoders["global"]
        assert isinstance(network, GlobalNet)
        return network

    @property
    def part_networks(self) -> dict[Part, VQVAE]:
        """The four auto-encoders that have codes."""
        return {
            part: network
            for part in PARTS
            if isinstance(network := self.auto_encoders[part], VQVAE)
        }

    def to(self, device: torch.device | str) -> "Bundle":
        """The bundle with its networks moved to a device."""
        self.generator.to(device)
        for network in self.auto_encoders.values():
            network.to(device)
        return self

    def save(self, folder: str | Path) -> None:
        """Write the folder, whole or not at all."""
        with atomic_directory(folder) as out:
            save_generator(out, self.generator)
            for name, network in self.auto_encoders.items():
                save_auto_encoder(out, name, network)
            write_json(out / "vocabulary.json", self.vocabulary)
            write_json(out / "config.json", self.config)
            write_json(out / "rest.json", self.rest.tolist())
            about = {
                "format": FORMAT,
                "fidelity": self.fidelity,
                "context_frames": self.context_frames,
                "window": self.window,
                "speakers": {str(speaker): index for speaker, index in self.speakers.items()},
                "files": {path.name: sha256_file(path) for path in sorted(out.iterdir())},
            }
            write_json(out / "bundle.json", {**about, "digest": digest(about)})

    @classmethod
    def load(cls, folder: str | Path) -> "Bundle":
        """Read a bundle; every file must be the one it was saved with.

        Raises:
            InputError: A file is missing, changed or broken.

        """
        folder = Path(folder)
        about = _read_about(folder / "bundle.json")
        present = {
            path.name for path in folder.iterdir() if path.suffix in (".safetensors", ".json")
        }
        for name in sorted(present.union(about["files"]) - {"bundle.json"}):
            _check_file(folder, name, about["files"].get(name))
        return cls(
            generator=load_generator(folder),
            auto_encoders={name: load_auto_encoder(folder, name) for name in AUTO_ENCODERS},
            vocabulary=read_json(folder / "vocabulary.json"),
            speakers={int(speaker): index for speaker, index in about["speakers"].items()},
            fidelity=about["fidelity"],
            context_frames=about["context_frames"],
            window=about["window"],
            rest=torch.tensor(read_json(folder / "rest.json")),
            config=read_json(folder / "config.json"),
        )


def _read_about(path: Path) -> dict[str, Any]:
    """What `bundle.json` says, of a known format and as it was written."""
    about = read_json(path)
    version = about.get("format") if isinstance(about, dict) else None
    if version != FORMAT:
        raise InputError(
            path,
            f"expected format {FORMAT}, found format {version}",
            "make the bundle again with this version",
        )
    stated = about.pop("digest", None)
    if digest(about) != stated:
        raise InputError(
            path,
            f"expected digest {stated}, found contents of digest {digest(about)}",
            "fetch or make the bundle again",
        )
    return about


def _check_file(folder: Path, name: str, expected: str | None) -> None:
    path = folder / name
    found = (
        "a name outside the folder"
        if os.path.basename(name) != name
        else ("no such file" if not path.is_file() else f"sha256 {sha256_file(path)}")
    )
    if found != f"sha256 {expected}":
        raise InputError(
            path,
            f"expected {(f'sha256 {expected}' if expected else 'no file of that name')},"
            f" found {found}",
            "fetch or make the bundle again",
        )
