"""Import of the published files: every key is used, or listed with the reason why it is not."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final

from mambatalk.console import Progress
from mambatalk.corpus.labels import BEATX_SPEAKERS, speaker_indices
from mambatalk.errors import InputError
from mambatalk.files import sha256_file
from mambatalk.models.fgd.network import FGDEncoder
from mambatalk.models.generator.network import Generator
from mambatalk.models.vq.vqvae import VQVAE, AutoEncoder
from mambatalk.motion.skeleton import PART_DIMS, PARTS, AutoEncoderName
from mambatalk.published.building import build_auto_encoder, build_generator, build_vqvae
from mambatalk.published.checkpoints import read_checkpoint, read_vocabulary
from mambatalk.published.fgd import build_fgd_encoder
from mambatalk.published.keymap import Kind, Translation, translate
from mambatalk.published.loading import CHECK_FILE, Module, shape_errors_as_input_errors
from mambatalk.synthesis.bundle import Bundle
from mambatalk.synthesis.rest import arms_down

AUTO_ENCODER_FILES: Final[Mapping[AutoEncoderName, str]] = MappingProxyType(
    {
        "face": "face.bin",
        "upper": "upper.bin",
        "hands": "hands.bin",
        "lower": "lower_foot.bin",
        "global": "foot.bin",
    }
)
"""File of each auto-encoder.

The names are confusing: the published configuration `lower_foot` trains the auto-encoder of the
lower body, and `lower` trains the global-motion network, which is released as `foot.bin`.
"""
GENERATOR_FILE: Final = "mambatalk_100.bin"
FGD_FILE: Final = "AESKConv_240_100.bin"
VOCABULARY_FILE: Final = "vocab.pkl"
CONTEXT_FRAMES: Final = 4
WINDOW: Final = 64
"""Length of a published window in frames; no file records it."""


@dataclass(frozen=True)
class FileSummary:
    """Summary of the import of one file."""

    file: str
    used: int
    """Number of keys in use."""
    parameters: int
    """Number of parameters in the file, those left out included."""
    left_out: dict[str, str]
    """Key that is not used, to the reason."""


@dataclass(frozen=True)
class PublishedModel:
    """Contents of the published files."""

    generator: Generator
    auto_encoders: dict[AutoEncoderName, VQVAE | AutoEncoder]
    fgd_encoder: FGDEncoder | None
    vocabulary: dict[str, int] | None
    summaries: list[FileSummary]


def import_published_files(directory: Path, *, progress: Progress | None = None) -> PublishedModel:
    """Read a folder of published files. The FGD encoder and the vocabulary may be missing.

    Args:
        directory: The folder.
        progress: Called after each file of weights.

    Raises:
        InputError: A file is missing or damaged, or its content does not match its name or the
            other files.

    """
    summaries: list[FileSummary] = []
    has_fgd = (directory / FGD_FILE).is_file()
    # One file per auto-encoder, and that of the generator.
    files = len(AUTO_ENCODER_FILES) + 1 + has_fgd

    def read(file: str, kind: Kind, build: Callable[[Translation], Module]) -> Module:
        translation = translate(
            read_checkpoint(directory / file), kind, where=str(directory / file)
        )
        summaries.append(_summarise(file, translation))
        with shape_errors_as_input_errors(
            translation.where, expected="the arrays of one published network", hint=CHECK_FILE
        ):
            module = build(translation)
        if progress is not None:
            progress(len(summaries), files)
        return module

    auto_encoders: dict[AutoEncoderName, VQVAE | AutoEncoder] = {}
    for part, file in AUTO_ENCODER_FILES.items():
        auto_encoders[part] = (
            read(file, "auto_encoder", build_auto_encoder)
            if part == "global"
            else read(file, "auto_encoder", build_vqvae)
        )
        _check_dim(directory / file, auto_encoders[part], PART_DIMS[part])
    generator = read(GENERATOR_FILE, "generator", build_generator)
    for part in PARTS:
        _check_codes(directory / AUTO_ENCODER_FILES[part], auto_encoders[part], generator)
    fgd_encoder = None
    if has_fgd:
        fgd_encoder = read(FGD_FILE, "fgd", build_fgd_encoder)
        fgd_encoder.source = sha256_file(directory / FGD_FILE)
    vocabulary = None
    if (directory / VOCABULARY_FILE).is_file():
        vocabulary = read_vocabulary(directory / VOCABULARY_FILE)
    if vocabulary and max(vocabulary.values()) >= generator.config.vocabulary_size:
        raise InputError(
            directory / VOCABULARY_FILE,
            f"expected word ids below {generator.config.vocabulary_size}, the size of the"
            f" generator's embedding, found ids up to {max(vocabulary.values())}",
            "use the vocabulary that was published with this generator",
        )
    return PublishedModel(generator, auto_encoders, fgd_encoder, vocabulary, summaries)


def to_bundle(model: PublishedModel) -> Bundle:
    """Make a bundle of an imported model; without a vocabulary it uses audio only."""
    return Bundle(
        generator=model.generator,
        auto_encoders=model.auto_encoders,
        vocabulary=model.vocabulary or {},
        speakers=speaker_indices(BEATX_SPEAKERS),
        fidelity="published",
        context_frames=CONTEXT_FRAMES,
        window=WINDOW,
        rest=arms_down(),
        config={"source": "published", "files": [summary.file for summary in model.summaries]},
    )


def _summarise(file: str, translation: Translation) -> FileSummary:
    arrays = [*translation.state.items()]
    arrays += [(key, entry.value) for key, entry in translation.left_out.items()]
    return FileSummary(
        file=file,
        used=len(translation.state),
        parameters=sum(value.numel() for key, value in arrays if _is_parameter(key)),
        left_out={key: entry.reason for key, entry in translation.left_out.items()},
    )


def _is_parameter(key: str) -> bool:
    return not key.endswith((".running_mean", ".running_var", ".num_batches_tracked", ".pe"))


def _check_codes(path: Path, network: VQVAE | AutoEncoder, generator: Generator) -> None:
    assert isinstance(network, VQVAE)
    codes, width = network.quantizer.table.shape
    config = generator.config
    if (codes, width) != (config.codebook_size, config.code_dim):
        raise InputError(
            path,
            f"expected {config.codebook_size} codes of {config.code_dim} channels, as the generator"
            f" predicts, found {codes} codes of {width} channels",
            "use the auto-encoders that were published with this generator",
        )


def _check_dim(path: Path, module: VQVAE | AutoEncoder, expected: int) -> None:
    dim = next(module.encoder.parameters()).shape[1]
    if dim != expected:
        raise InputError(
            path,
            f"expected an auto-encoder of {expected} channels, found one of {dim}",
            "check that no two files were swapped",
        )
