"""The bundle: a generator with the auto-encoders, vocabulary and settings it was trained with.

A folder of safetensors and JSON files. Codes have no meaning with another codebook, so the parts
are released together, and `bundle.json` holds a digest of each file and one of itself.
"""

import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import MISSING, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from mambatalk.errors import InputError
from mambatalk.fidelity import Fidelity, FidelityRules
from mambatalk.files import atomic_directory, digest, read_json, sha256_file, write_json
from mambatalk.models.generator.network import Generator
from mambatalk.models.generator.storage import load_generator, save_generator
from mambatalk.models.vq.storage import load_auto_encoder, save_auto_encoder
from mambatalk.models.vq.vqvae import VQVAE
from mambatalk.models.vq.vqvae import AutoEncoder as GlobalNet
from mambatalk.motion.skeleton import (
    AUTO_ENCODERS,
    JOINT_COUNT,
    MOTION_DIM,
    PARTS,
    AutoEncoderName,
    Part,
)
from mambatalk.synthesis.chain import CHAINED_PARTS, CodeChain
from mambatalk.synthesis.history_chain import Chain, Chains, HistoryChain

FORMAT = 3
"""Version of the layout of a bundle's folder."""
_LOADING_ERRORS = (
    ArithmeticError,
    AttributeError,
    LookupError,
    RuntimeError,
    SafetensorError,
    TypeError,
    ValueError,
)
CHAINS_FILE = "chains.safetensors"
REST_JOINTS_FILE = "rest_joints.json"


@dataclass(frozen=True, kw_only=True, eq=False)
class Bundle:
    """A trained model with everything that synthesis needs."""

    generator: Generator
    auto_encoders: dict[AutoEncoderName, VQVAE | GlobalNet]
    vocabulary: dict[str, int]
    """Word to id."""
    speakers: dict[int, int]
    """Speaker id in the corpus to row of the speaker embedding."""
    fidelity: Fidelity
    """Value that the model was trained with; by default synthesis uses it too."""
    context_frames: int
    """Frames that a window shares with the previous one."""
    window: int
    """Length of a window in frames."""
    rest: Tensor
    """Motion (337,) that a clip starts from if none is given."""
    config: dict[str, Any]
    """Training parameters, for reference only."""
    chains: Chains = field(default_factory=dict)
    """Transitions of the body's codes in training. Without them, as in an imported model, each
    frame's code is chosen by itself. A generator that predicts motion uses neither.
    """
    reach: float | None = None
    """Farthest that a training clip went from its first frame, metres. If None, no bound."""
    rest_joints: Tensor | None = None
    """Rest joints (55, 3) of the mean training body, metres. Without them, as in an imported model,
    feet are not held still.
    """

    @property
    def rules(self) -> FidelityRules:
        """The behaviour that `fidelity` selects."""
        return FidelityRules.of(self.fidelity)

    @property
    def global_net(self) -> GlobalNet:
        """Network that predicts ground velocity from the legs."""
        network = self.auto_encoders["global"]
        assert isinstance(network, GlobalNet)
        return network

    @property
    def part_networks(self) -> dict[Part, VQVAE]:
        """The four auto-encoders with a codebook."""
        return {
            part: network
            for part in PARTS
            if isinstance(network := self.auto_encoders[part], VQVAE)
        }

    def to(self, device: torch.device | str) -> "Bundle":
        """Return the bundle on a device. The networks are moved, not copied."""
        self.generator.to(device)
        for network in self.auto_encoders.values():
            network.to(device)
        return replace(self, chains={part: chain.to(device) for part, chain in self.chains.items()})

    def save(self, folder: str | Path) -> None:
        """Write the folder atomically.

        Raises:
            InputError: The folder cannot be written.

        """
        with atomic_directory(folder) as out:
            save_generator(out, self.generator)
            for name, network in self.auto_encoders.items():
                save_auto_encoder(out, name, network)
            write_json(out / "vocabulary.json", self.vocabulary)
            write_json(out / "config.json", self.config)
            write_json(out / "rest.json", self.rest.tolist())
            if self.chains:
                save_file(_chain_tensors(self.chains), out / CHAINS_FILE)
            if self.rest_joints is not None:
                write_json(out / REST_JOINTS_FILE, self.rest_joints.tolist())
            description = {
                "format": FORMAT,
                "fidelity": self.fidelity,
                "context_frames": self.context_frames,
                "window": self.window,
                "reach": self.reach,
                "speakers": {str(speaker): index for speaker, index in self.speakers.items()},
                "files": {path.name: sha256_file(path) for path in sorted(out.iterdir())},
            }
            write_json(out / "bundle.json", {**description, "digest": digest(description)})

    @classmethod
    def load(cls, folder: str | Path) -> "Bundle":
        """Read a bundle and verify the digest of every file.

        Raises:
            InputError: A file is missing, changed, damaged, or not listed in `bundle.json`, or the
                auto-encoders do not match the generator.

        """
        folder = Path(folder)
        description = _read_description(folder / "bundle.json")
        try:
            # At full size digests take as long as the networks, which a second core can read.
            with ThreadPoolExecutor(max_workers=1) as pool:
                verified = pool.submit(_check_files, folder, description["files"])
                try:
                    bundle = cls._load(folder, description)
                finally:
                    # If a file has changed, say so instead of how loading it fails.
                    verified.result()
            return bundle
        except InputError:  # A subclass of ValueError that already describes the fault.
            raise
        except _LOADING_ERRORS as error:
            raise InputError(
                folder,
                f"expected the parts of a bundle, found other contents ({_first_line(error)})",
                "download or make the bundle again",
            ) from error

    @classmethod
    def _load(cls, folder: Path, description: Mapping[str, Any]) -> "Bundle":
        FidelityRules.of(description["fidelity"])  # Raises for an unknown value.
        bundle = cls(
            generator=load_generator(folder),
            auto_encoders={name: load_auto_encoder(folder, name) for name in AUTO_ENCODERS},
            vocabulary=read_json(folder / "vocabulary.json"),
            speakers={int(speaker): index for speaker, index in description["speakers"].items()},
            fidelity=description["fidelity"],
            context_frames=description["context_frames"],
            window=description["window"],
            rest=_read_tensor(folder / "rest.json", (MOTION_DIM,)),
            config=read_json(folder / "config.json"),
            chains=_read_chains(folder / CHAINS_FILE),
            reach=description["reach"],
            rest_joints=_read_rest_joints(folder / REST_JOINTS_FILE),
        )
        _check_codebooks(folder, bundle)
        return bundle


def _check_codebooks(folder: Path, bundle: Bundle) -> None:
    """Verify that the generator can choose every code of each codebook and no other."""
    expected = bundle.generator.config.codebook_size
    for part, network in bundle.part_networks.items():
        found = network.quantizer.size
        if found != expected:
            raise InputError(
                folder,
                f"expected auto-encoders with the {expected} codes that the generator predicts, "
                f"found {found} codes in {part}",
                "make the bundle again with the auto-encoders that its generator was trained with",
            )


def _chain_tensors(chains: Chains) -> dict[str, Tensor]:
    return {
        f"{part}.{each.name}": value.clone()
        for part, chain in chains.items()
        for each in fields(chain)
        if (value := getattr(chain, each.name)) is not None
    }


def _read_chains(path: Path) -> Chains:
    if not path.is_file():
        return {}
    tensors = load_file(path)
    chains: dict[Part, Chain] = {}
    for part in CHAINED_PARTS:
        # In older bundles the chain of the legs remembers one code, as those of the other parts do.
        kind = HistoryChain if f"{part}.histories" in tensors else CodeChain
        statistics = {
            each.name: tensors[f"{part}.{each.name}"]
            for each in fields(kind)
            # Older bundles have no means.
            if each.default is MISSING or f"{part}.{each.name}" in tensors
        }
        chains[part] = kind(**statistics)
    return chains


def _read_rest_joints(path: Path) -> Tensor | None:
    return _read_tensor(path, (JOINT_COUNT, 3)) if path.is_file() else None


def _read_tensor(path: Path, shape: tuple[int, ...]) -> Tensor:
    """Read a JSON list of numbers.

    Raises:
        InputError: The list has another shape or values that are not finite.

    """
    value = torch.tensor(read_json(path), dtype=torch.float32)
    if value.shape != shape or not value.isfinite().all():
        raise InputError(
            path,
            f"expected finite numbers of shape {shape}, found shape {tuple(value.shape)}",
            "download or make the bundle again",
        )
    return value


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {next(iter(str(error).splitlines()), '')[:120]}"


def _read_description(path: Path) -> dict[str, Any]:
    """Read `bundle.json` and verify its format and digest."""
    description = read_json(path)
    version = description.get("format") if isinstance(description, dict) else None
    if version != FORMAT:
        raise InputError(
            path,
            f"expected format {FORMAT}, found format {version}",
            "make the bundle again with this version",
        )
    stated = description.pop("digest", None)
    if digest(description) != stated:
        raise InputError(
            path,
            f"expected digest {stated}, found contents of digest {digest(description)}",
            "download or make the bundle again",
        )
    return description


def _check_files(folder: Path, digests: Mapping[str, str]) -> None:
    """Verify all files. One that is not listed is an error too: a loader could read it."""
    present = {path.name for path in folder.iterdir() if path.suffix in (".safetensors", ".json")}
    for name in sorted(present.union(digests) - {"bundle.json"}):
        _check_file(folder, name, digests.get(name))


def _check_file(folder: Path, name: str, expected: str | None) -> None:
    """Verify one file; `expected` is its sha256, or None if `bundle.json` does not list it."""
    path = folder / name
    # The names come from `bundle.json`, which may be from an untrusted source.
    if os.path.basename(name) != name:
        found = "a name outside the folder"
    elif not path.is_file():
        found = "no such file"
    else:
        found = f"sha256 {sha256_file(path)}"
    wanted = f"sha256 {expected}" if expected else "no file of that name"
    if found != wanted:
        raise InputError(
            path, f"expected {wanted}, found {found}", "download or make the bundle again"
        )
