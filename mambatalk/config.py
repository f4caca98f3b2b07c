"""The configuration: `params.yaml` as frozen dataclasses, one section per stage, read strictly.

Fields have no defaults, because DVC would not notice a default that changes here. Settings that do
not change results (device, workers, addresses, log level) are environment variables or flags, never
parameters.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError, with_config
from ruamel.yaml import YAML, YAMLError

from mambatalk.errors import InputError
from mambatalk.fidelity import Fidelity

Count = Annotated[int, Field(ge=1)]
Size = Annotated[int, Field(ge=0)]
Rate = Annotated[float, Field(gt=0)]
Share = Annotated[float, Field(ge=0, le=1)]
Weight = Annotated[float, Field(ge=0)]

section = with_config(ConfigDict(extra="forbid", strict=True))


@section
@dataclass(frozen=True, kw_only=True)
class BodyConfig:
    """The SMPL-X body model, from which meshes and joints are computed."""

    path: str
    """npz in SMPL-X format: the licensed model, or the stand-in that the sample stage writes."""
    mesh_vertices: Size
    """Vertices in the mesh losses, spread over the body; 0 uses all 10,475."""
    mesh_frames: Size
    """Consecutive frames of a window in the mesh losses of face, upper and hands; 0 uses all."""


@section
@dataclass(frozen=True, kw_only=True)
class SampleCorpusConfig:
    """The embedded corpus: speech by eSpeak NG, motion from written rules."""

    enabled: bool
    hours: Rate
    speakers: Annotated[int, Field(ge=3)]


@section
@dataclass(frozen=True, kw_only=True)
class IngestConfig:
    """Corpus to clip store."""

    root: str
    """A language folder in BEATX layout."""
    snapshot: str
    """What `mambatalk snapshot` wrote of that folder: the only data dependency."""
    speakers: list[int]
    """Speaker ids to take; empty takes all."""
    clips_per_shard: Count


@section
@dataclass(frozen=True, kw_only=True)
class CheckClipsConfig:
    """Bounds of the per-clip rules."""

    min_seconds: Rate
    max_length_gap_seconds: Rate
    max_joint_speed: Rate
    """Fastest joint rotation, radians a second."""
    max_translation_speed: Rate
    """Fastest the whole body moves, metres a second."""
    max_frozen_seconds: Rate
    """Longest all joints may stand still to the last bit."""
    max_silent_share: Share
    max_quarantined: Share
    """Share of clips that may be left out before the stage fails."""


@section
@dataclass(frozen=True, kw_only=True)
class FeaturesConfig:
    """Accepted clips to features."""

    ctc_model: str | None
    """Folder or hub name of a wav2vec2 CTC model; null leaves the CTC channel at 0."""
    validation_share: Share
    """Share of training clips carved for validation where the corpus marks none."""
    clips_per_shard: Count


@section
@dataclass(frozen=True, kw_only=True)
class CheckFeaturesConfig:
    """Bounds of the per-clip feature rules."""

    max_unknown_words: Share
    max_silent_share: Share
    max_floor_offset: Rate
    """Metres the feet may be from the floor, which lies at height 0."""


@section
@dataclass(frozen=True, kw_only=True)
class VQCommonConfig:
    """Settings that the five auto-encoders share."""

    width: Count
    """Channels of the latents and of a code vector."""
    codebook_size: Count
    window: Count
    """Frames of a window."""
    stride: Count
    """Frames between the starts of training windows."""
    batch_size: Count
    lr: Rate
    lr_decay: Rate
    """Factor on the learning rate from each part's `decay_epoch` on."""
    betas: tuple[float, float]
    """Of Adam."""
    mesh_weight: Weight
    """Weight of the mesh terms; 0 computes none."""
    foot_weight: Weight
    """Weight of the foot-sliding term of `lower` and `global`."""
    difference_weight: Weight
    """Weight of the velocity and acceleration terms of `global`."""
    min_deviation: Rate
    """Smallest standard deviation that data-dependent initialisation assumes of a channel."""
    revive_dead_codes: bool
    """Corrected fidelity only."""
    dead_code_share: Share
    """A code is dead if it is used less than this multiple of 1 / codebook_size."""
    code_usage_momentum: Share
    """Weight of the past in the moving average of code usage, per step."""


@section
@dataclass(frozen=True, kw_only=True)
class VQPartConfig:
    """Settings of one auto-encoder."""

    layers: Count
    epochs: Count
    decay_epoch: Count
    """Epoch from which the learning rate is lower and dead codes are not revived."""


@section
@dataclass(frozen=True, kw_only=True)
class TrainVQConfig:
    """The motion auto-encoders."""

    common: VQCommonConfig
    face: VQPartConfig
    upper: VQPartConfig
    hands: VQPartConfig
    lower: VQPartConfig
    # `global` is a Python keyword.
    global_: Annotated[VQPartConfig, Field(alias="global")]


@section
@dataclass(frozen=True, kw_only=True)
class TrainFGDConfig:
    """The motion auto-encoder behind FGD."""

    published: str | None
    """Path of AESKConv_240_100.bin to import it; null trains an encoder."""
    latent: Count
    """Channels of a feature, a multiple of 20."""
    decoder_hidden: Count
    """Channels inside the decoder, which is used in training only."""
    window: Count
    stride: Count
    batch_size: Count
    lr: Rate
    betas: tuple[float, float]
    min_deviation: Rate
    """Smallest standard deviation that data-dependent initialisation assumes of a channel."""
    epochs: Count


@section
@dataclass(frozen=True, kw_only=True)
class TrainGeneratorConfig:
    """The generator and its training step."""

    hidden: Count
    audio_dim: Count
    """Channels of encoded audio."""
    word_dim: Count
    """Channels of a word embedding."""
    audio_width: Count
    """Channels of the first audio block; later blocks double them."""
    dropout: Share
    window: Count
    stride: Count
    context_frames: Count
    """Frames at the start of a window that the full mask does not hide."""
    batch_size: Count
    lr: Rate
    betas: tuple[float, float]
    clip_norm: Rate
    """Largest norm of the gradient."""
    epochs: Count
    mask_start: Share
    """Probability in the first epoch that the random mask hides a channel; it grows to 1."""
    latent_weight: Weight
    """Weight of the latent loss beside the index loss."""
    text_dropout: Share
    """Probability that a training window loses its words; corrected fidelity only."""


@section
@dataclass(frozen=True, kw_only=True)
class EvaluateConfig:
    """Which clips are scored."""

    split: Literal["val", "test"]
    max_clips: Size
    """0 scores all."""


@section
@dataclass(frozen=True, kw_only=True)
class RenderConfig:
    """Videos of generated motion beside ground truth."""

    clips: Count
    seconds: Rate
    height: Count
    """Of one figure, in pixels."""


@section
@dataclass(frozen=True, kw_only=True)
class Config:
    """All of `params.yaml`."""

    seed: int
    fidelity: Fidelity
    body: BodyConfig
    sample_corpus: SampleCorpusConfig
    ingest: IngestConfig
    check_clips: CheckClipsConfig
    features: FeaturesConfig
    check_features: CheckFeaturesConfig
    train_vq: TrainVQConfig
    train_fgd_encoder: TrainFGDConfig
    train_generator: TrainGeneratorConfig
    evaluate: EvaluateConfig
    render: RenderConfig


def load_config(path: str | Path = "params.yaml") -> Config:
    """Read and check a complete parameter file.

    Raises:
        InputError: The file is missing or no YAML, a key is unknown or missing, or a value has the
            wrong type or is out of range. Only the first fault is reported.

    """
    try:
        return parse_config(YAML(typ="safe", pure=True).load(Path(path)), where=str(path))
    except FileNotFoundError:
        raise InputError(
            path,
            "expected a parameter file, found no such file",
            "run from the repository root, or `make profile P=sample` to write one",
        ) from None
    except YAMLError as error:
        raise InputError(
            path, f"expected a parameter file, found broken YAML ({error})", "correct that line"
        ) from None


def parse_config(values: Any, *, where: str = "params.yaml") -> Config:
    """Check the nested values of a parameter file; see `load_config`.

    Args:
        values: Mapping with the sections of `params.yaml`.
        where: Name of the file in errors.

    """
    try:
        # Through JSON: in strict mode, only JSON may give a mapping for a dataclass and a list for
        # a tuple.
        return TypeAdapter(Config).validate_json(json.dumps(values, default=str))
    except ValidationError as error:
        raise _first_fault(error, where) from None


def config_dict(value: Any) -> dict[str, Any]:
    """Convert a configuration, or a section of one, to nested values as in `params.yaml`."""
    return TypeAdapter(type(value)).dump_python(value, by_alias=True, mode="json")


def _first_fault(error: ValidationError, where: str) -> InputError:
    fault = error.errors()[0]
    key = ".".join(str(part) for part in fault["loc"]) or "top level"
    if fault["type"] in ("unexpected_keyword_argument", "extra_forbidden"):
        problem = "expected no such key, found an unknown key"
        hint = "remove it or correct its name"
    elif fault["type"].startswith("missing"):
        problem = "expected a value, found no such key"
        hint = "add it; infra/profiles/ holds complete files"
    else:
        expected = fault["msg"].removeprefix("Input should be ")
        problem = f"expected {expected}, found {fault['input']!r}"
        hint = "correct the value"
    return InputError(f"{where}: {key}", problem, hint)
