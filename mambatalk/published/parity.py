"""`mambatalk parity`: compare our numbers with those of the published implementation."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from mambatalk.console import Progress
from mambatalk.errors import InputError
from mambatalk.published.fixture import Fixture, Measure
from mambatalk.published.loading import shape_errors_as_input_errors
from mambatalk.published.parity_functions import (
    check_features,
    check_metrics,
    check_rotations,
    check_selective_scan,
)
from mambatalk.published.parity_modules import (
    check_audio_encoder,
    check_fgd_encoder,
    check_generator,
    check_global_motion,
    check_mamba_block,
    check_mamba_model,
    check_mamba_scan,
    check_vqvae,
)
from mambatalk.published.parity_rollout import check_rollout

CHECKS: Mapping[str, Callable[[Fixture], Iterator[Measure]]] = {
    "rotations": check_rotations,
    "vqvae_face": check_vqvae,
    "vqvae_upper": check_vqvae,
    "vqvae_hands": check_vqvae,
    "vqvae_lower": check_vqvae,
    "global_motion": check_global_motion,
    "fgd_encoder": check_fgd_encoder,
    "audio_encoder_2ch": check_audio_encoder,
    "audio_encoder_3ch": check_audio_encoder,
    "mamba_block": check_mamba_block,
    "selective_scan": check_selective_scan,
    "mamba_scan": check_mamba_scan,
    "mamba_model": check_mamba_model,
    "generator": check_generator,
    "rollout": check_rollout,
    "metrics": check_metrics,
    "features": check_features,
}
"""Check of each known fixture."""

NEEDS: Mapping[str, str] = {"rollout": "generator"}
"""Fixtures whose check reads another one too."""


@dataclass(frozen=True)
class Report:
    """Result of comparing all fixtures of a folder."""

    measures: list[Measure]
    absent: list[str]
    """Known fixtures that are missing, or whose check reads a missing one."""

    def ok(self, *, complete: bool) -> bool:
        """Return whether errors are within tolerances and, if `complete`, nothing is absent."""
        return all(measure.ok for measure in self.measures) and not (complete and self.absent)


def run_parity(directory: Path, *, progress: Progress | None = None) -> Report:
    """Compare with every known fixture of a folder.

    Args:
        directory: Folder of npz files.
        progress: Called after each file.

    Raises:
        InputError: The folder does not exist or holds no known fixture, or a fixture is damaged or
            holds arrays of another network.

    """
    present = []
    for name in CHECKS:
        needed = {name, NEEDS.get(name, name)}
        if all((directory / f"{fixture}.npz").is_file() for fixture in needed):
            present.append(name)
    if not present:
        found = "no known reference file" if directory.is_dir() else "no such folder"
        raise InputError(
            directory,
            f"expected files such as {next(iter(CHECKS))}.npz, found {found}",
            "check the path",
        )
    measures: list[Measure] = []
    with torch.no_grad():
        for done, name in enumerate(present, start=1):
            measures += _check(name, directory / f"{name}.npz")
            if progress is not None:
                progress(done, len(present))
    return Report(measures, [name for name in CHECKS if name not in present])


def _check(name: str, path: Path) -> list[Measure]:
    # Wrong numbers are rows of the table; arrays that fit no network are bad input.
    hint = "make the file again with the published implementation"
    try:
        with shape_errors_as_input_errors(path, expected=f"the arrays of {name}", hint=hint):
            return list(CHECKS[name](Fixture(path)))
    except InputError as error:
        if ".npz" in error.location:
            raise
        raise InputError(f"{path}: {error.location}", error.problem, hint) from error
