"""`mambatalk parity`: our numbers against those of the published implementation, file by file."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from mambatalk.errors import InputError
from mambatalk.published.filling import refusing_misfits
from mambatalk.published.fixture import Fixture, Measure
from mambatalk.published.parity_functions import (
    check_features,
    check_metrics,
    check_rotations,
    check_selective_scan,
)
from mambatalk.published.parity_generator import check_generator
from mambatalk.published.parity_modules import (
    check_audio_encoder,
    check_fgd_encoder,
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
"""Every known file."""

NEEDS: Mapping[str, str] = {"rollout": "generator"}
"""Files that cannot be checked without another one."""


@dataclass(frozen=True)
class Report:
    """What a folder of reference numbers says of us."""

    measures: list[Measure]
    absent: list[str]
    """Known files that the folder does not hold, or not with the file they need."""

    def ok(self, *, complete: bool) -> bool:
        """Whether all is within its bar and, if `complete`, nothing is absent."""
        return all(measure.ok for measure in self.measures) and not (complete and self.absent)


def run_parity(directory: Path) -> Report:
    """Check every known file of a folder.

    Raises:
        InputError: There is no such folder, it holds no known file, or a file is broken or not what
            its name says.

    """
    present = [
        name
        for name in CHECKS
        if all((directory / f"{needed}.npz").is_file() for needed in (name, NEEDS.get(name, name)))
    ]
    if not present:
        raise InputError(
            directory,
            f"expected files such as {next(iter(CHECKS))}.npz,"
            f" found {('no known reference file' if directory.is_dir() else 'no such folder')}",
            "check the path",
        )
    with torch.no_grad():
        measures = [
            measure for name in present for measure in _check(name, directory / f"{name}.npz")
        ]
    return Report(measures, [name for name in CHECKS if name not in present])


def _check(name: str, path: Path) -> list[Measure]:
    # What is merely wrong shows in the table; what fits nothing is bad input.
    do = "make the file again with the published implementation"
    try:
        with refusing_misfits(path, expected=f"those of {name}, whole", do=do):
            measures = list(CHECKS[name](Fixture(path)))
    except InputError as error:
        if ".npz" in error.location:
            raise
        raise InputError(
            f"{path}: {error.location}",
            error.problem,
            do,
        ) from error
    return measures
