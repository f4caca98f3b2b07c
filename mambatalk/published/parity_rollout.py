"""Parity of published synthesis over several windows.

The context, audio slice, outputs and codes of each window are compared, and the motion of the clip.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor, nn

from mambatalk.fidelity import PUBLISHED
from mambatalk.models.generator.network import Fused, GeneratorOutput
from mambatalk.models.vq.vqvae import VQVAE
from mambatalk.motion.parts import integrate_ground
from mambatalk.motion.rotations import axis_angle_to_6d
from mambatalk.motion.skeleton import (
    AUTO_ENCODERS,
    JOINT_COUNT,
    MOTION_DIM,
    PART_JOINTS,
    PARTS,
)
from mambatalk.published.building import build_auto_encoder, build_generator, build_vqvae
from mambatalk.published.fixture import ROLLOUT_TOLERANCE, Fixture, Measure, compare_codes
from mambatalk.synthesis.bundle import Bundle
from mambatalk.synthesis.decoding import Codes, decode, join_codes
from mambatalk.synthesis.layout import ClipInputs, encode_windows
from mambatalk.synthesis.synthesizer import Synthesizer

Mode = Literal["published", "exact_hop"]

CONTEXT_FRAMES = 4


def check_rollout(fixture: Fixture) -> Iterator[Measure]:
    """Compare one window, several windows, and several windows with an exact audio slice."""
    yield from _check_masks(fixture)
    rollout = _Rollout(fixture)
    for mode in ("published", "exact_hop"):
        windows = rollout.run(mode, len(fixture["poses"]))
        yield from _compare_windows(fixture, mode, windows, rollout)
        yield from rollout.compare_motion(mode, mode, windows)
    window = fixture["published/window/rec_face"].shape[1]
    yield from rollout.compare_motion("one_window", "published", rollout.run("published", window))


@dataclass(frozen=True)
class _Window:
    """One window as it was generated."""

    context: Tensor
    """Motion (4, 337) that the window starts with."""
    output: GeneratorOutput
    """Latents and logits (1, T, C)."""
    new_codes: Codes
    """Codes (1, n) of the frames that the window adds, with near ties resolved as published."""


class _RoundedFace(VQVAE):
    """A face decoder that rounds as the published one does.

    Published inference decodes z + (code - z), which differs from the code in a last bit that
    depends on the latent z. The published matrix-to-axis-angle formula turns that bit into up to
    3e-4 rad of jaw, so z is taken from the fixture here.
    """

    def __init__(self, face: VQVAE, latent: Tensor) -> None:
        nn.Module.__init__(self)
        self.encoder = face.encoder
        self.quantizer = face.quantizer
        self.decoder = face.decoder
        self._latent = latent

    def decode_index(self, index: Tensor) -> Tensor:
        """Decode codes (1, T), as many as there are latents."""
        return self.decode(self.quantizer.quantized(self._latent[None], index).vectors)


class _Rollout:
    """The networks and the clip of one file."""

    def __init__(self, fixture: Fixture) -> None:
        self._fixture = fixture
        self.bundle = _bundle(fixture)
        rotations = axis_angle_to_6d(fixture["poses"].unflatten(-1, (JOINT_COUNT, 3))).flatten(1)
        self._motion = torch.cat([rotations, fixture["trans"], fixture["contact"]], dim=-1)

    def synthesizer(self, mode: Mode) -> Synthesizer:
        """Return published synthesis, with an exact audio slice in mode `exact_hop`."""
        rules = replace(PUBLISHED, exact_audio_slice=mode == "exact_hop")
        return Synthesizer(self.bundle, rules=rules, precision="single")

    def run(self, mode: Mode, frames: int) -> list[_Window]:
        """Generate the first frames of the clip.

        Where two codes are almost equally likely, the published one is used for what follows.
        """
        fixture = self._fixture
        synthesizer = self.synthesizer(mode)
        layout = synthesizer.layout
        clip = ClipInputs(audio=fixture["audio"], words=fixture["word"][:frames])
        count = layout.count(frames)
        fused = encode_windows(
            self.bundle.generator, [(clip, number) for number in range(count)], layout
        )

        state = synthesizer.start(
            self._motion[None, : layout.context_frames], fixture["speaker"].reshape(1)
        )
        # The loop of `Synthesizer.generate`, written out because the codes are changed on the way.
        windows: list[_Window] = []
        for number in range(count):
            output = synthesizer.predict(state, Fused(*(x[number : number + 1] for x in fused)))
            scores = synthesizer.choice.scores(output)
            codes: Codes = {}
            for part in PARTS:
                published = fixture[f"{mode}/window/code_{part}"][number : number + 1]
                codes[part] = compare_codes("", "", scores[part], published).resolved
            new_codes = synthesizer.new_frames(state, codes)
            windows.append(_Window(state.context[0], output, new_codes))
            state = synthesizer.advance(state, codes)
        return windows

    def compare_motion(self, name: str, mode: Mode, windows: list[_Window]) -> Iterator[Measure]:
        """Compare the decoded motion of a run."""
        face = self._rounded_face(mode, len(windows))
        bundle = replace(self.bundle, auto_encoders={**self.bundle.auto_encoders, "face": face})
        decoded = decode(bundle, join_codes(window.new_codes for window in windows), PUBLISHED)
        trans = integrate_ground(decoded.ground, self._fixture["trans"][:1])
        yield from self._fixture.rotations(
            f"{name}/rec_pose", decoded.pose[0].flatten(1), tolerance=ROLLOUT_TOLERANCE
        )
        for key, ours in (("trans", trans[0]), ("exps", decoded.expressions[0])):
            yield self._fixture.close(f"{name}/rec_{key}", ours, tolerance=ROLLOUT_TOLERANCE)

    def _rounded_face(self, mode: Mode, count: int) -> VQVAE:
        latents = self._fixture[f"{mode}/window/rec_face"][:count]
        joined = torch.cat(
            [latent[CONTEXT_FRAMES if k else 0 :] for k, latent in enumerate(latents)]
        )
        return _RoundedFace(self.bundle.part_networks["face"], joined)


def _bundle(fixture: Fixture) -> Bundle:
    """Build a bundle from the networks of a fixture; it has no vocabulary and no speakers."""
    states = {name: fixture.state("auto_encoder", f"state_{name}") for name in AUTO_ENCODERS}
    return Bundle(
        generator=build_generator(fixture.sibling("generator").state("generator")),
        auto_encoders={
            **{part: build_vqvae(states[part]) for part in PARTS},
            "global": build_auto_encoder(states["global"]),
        },
        vocabulary={},
        speakers={},
        fidelity="published",
        context_frames=CONTEXT_FRAMES,
        window=fixture["published/window/rec_face"].shape[1],
        rest=torch.zeros(MOTION_DIM),
        config={},
    )


def _compare_windows(
    fixture: Fixture, mode: Mode, windows: list[_Window], rollout: _Rollout
) -> Iterator[Measure]:
    where = f"{mode}/window"
    yield fixture.close(
        f"{where}/seed",
        torch.stack([window.context for window in windows]),
        tolerance=ROLLOUT_TOLERANCE,
    )
    synthesizer = rollout.synthesizer(mode)
    code_scores = [synthesizer.choice.scores(window.output) for window in windows]
    layout = synthesizer.layout
    slices = torch.tensor([layout.audio_slice(number) for number in range(len(windows))])
    yield fixture.equal(f"{where}/audio_start", slices[:, 0])
    yield fixture.equal(f"{where}/audio_length", slices[:, 1])
    for part in PARTS:
        for key, field in (("rec", "latent"), ("cls", "logits")):
            ours = torch.cat([getattr(window.output, field)[part] for window in windows])
            yield fixture.close(f"{where}/{key}_{part}", ours, tolerance=ROLLOUT_TOLERANCE)
        quantity = f"{where}/code_{part}"
        scores = torch.cat([window_scores[part] for window_scores in code_scores])
        yield compare_codes(fixture.name, quantity, scores, fixture[quantity]).measure


def _check_masks(fixture: Fixture) -> Iterator[Measure]:
    for part in ("upper", "hands", "lower"):
        ours = torch.zeros(JOINT_COUNT, 3, dtype=torch.bool)
        ours[list(PART_JOINTS[part])] = True
        yield fixture.equal(f"mask_{part}", ours.flatten())
