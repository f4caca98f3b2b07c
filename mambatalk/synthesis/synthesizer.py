"""Speech in, SMPL-X motion out.

`Synthesizer.step` generates one window. Generating a clip, a batch of clips or a stream are loops
over it, and so is the parity check in `mambatalk.published`. Source: published inference;
docs/fidelity.md lists what is corrected.
"""

from collections.abc import Sequence
from functools import partial
from itertools import groupby

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mambatalk.audio.channels import FIXED_STATISTICS
from mambatalk.errors import InputError
from mambatalk.fidelity import FidelityRules
from mambatalk.models.generator.audio_encoder import fold_norms, pack
from mambatalk.models.generator.conditioning import full_mask, relative_motion
from mambatalk.models.generator.network import Fused, GeneratorOutput
from mambatalk.models.parallel import on_threads
from mambatalk.motion.clip import SmplxMotion
from mambatalk.motion.parts import PART_CONTACT, PART_TRANSLATION, integrate_ground
from mambatalk.motion.skeleton import CONTACT, MOTION_DIM, PARTS, POSE_DIM, TRANSLATION
from mambatalk.synthesis.bundle import Bundle
from mambatalk.synthesis.code_choice import CodeChoice
from mambatalk.synthesis.decoding import (
    Bounds,
    Codes,
    assemble_pose,
    decode_parts,
    join_codes,
    part_reach,
    to_smplx,
)
from mambatalk.synthesis.encoding import encoded_windows
from mambatalk.synthesis.history_chain import MEMORY
from mambatalk.synthesis.layout import (
    ClipInputs,
    Pace,
    Speech,
    WindowLayout,
    check_audio,
    encode_windows,
)
from mambatalk.synthesis.pieces import decode_clips
from mambatalk.synthesis.precision import GPU_AUDIO, Precision, fastest_precision, with_half_weights
from mambatalk.synthesis.recording import Noise, RecordedWindows
from mambatalk.synthesis.sampling import Sampling
from mambatalk.synthesis.state import SynthesisState


class Synthesizer:
    """Generates motion for speech with the networks of a bundle.

    Args:
        bundle: The model, on the device that does the work, where it has to stay.
        rules: Published or corrected synthesis. If None, as the bundle was trained.
        sampling: How codes of the body are drawn. If None, draw with seed 0 where the rules and the
            bundle have code chains, and take the most likely codes otherwise.
        pace: How soon motion follows speech, for corrected synthesis of streams. If None, windows
            of 64 frames follow each other every 60.
        precision: Precision of the generator's products, which changes the motion slightly. If
            None, what the device computes fastest (`synthesis/precision.py`).

    Raises:
        InputError: `sampling` is given for a bundle that predicts motion, which has no codes; or
            the frames of the pace do not fit into a window.

    Example:
        >>> synthesizer = Synthesizer(Bundle.load("bundle"))  # doctest: +SKIP
        >>> motion = synthesizer.generate(  # doctest: +SKIP
        ...     Speech(waveform=waveform, speaker_id=2)
        ... )
        >>> motion.write("result.npz")  # doctest: +SKIP

    """

    def __init__(
        self,
        bundle: Bundle,
        *,
        rules: FidelityRules | None = None,
        sampling: Sampling | None = None,
        pace: Pace | None = None,
        precision: Precision | None = None,
    ) -> None:
        predicts_codes = bundle.generator.predicts_codes
        if sampling is not None and not predicts_codes:
            raise InputError(
                "sampling",
                "expected a bundle that predicts codes, found one that predicts motion",
                "leave out seed, temperature and top-p: the same speech has one motion",
            )
        self.bundle = bundle
        self.rules = rules or bundle.rules
        self.precision = precision or fastest_precision(bundle.generator)
        chains = bundle.chains if self.rules.coherent_codes and predicts_codes else {}
        sampling = sampling or (Sampling(seed=0) if chains else None)
        self.layout = WindowLayout(
            window=bundle.window,
            context_frames=bundle.context_frames,
            rules=self.rules,
            pace=pace,
        )
        self.choice = CodeChoice(bundle, self.layout, sampling, chains)
        on_gpu = self.device.type == "cuda"
        self._recorded = RecordedWindows(self._compute) if on_gpu else None
        # One stream for all calls, because no other stream uses its memory again.
        self._beside = torch.cuda.Stream(self.device) if on_gpu else None
        if not on_gpu:
            pack(bundle.generator)
        self._reach = part_reach(bundle)
        self._network = bundle.generator
        if self.precision == "half":
            self._network = with_half_weights(bundle.generator)
            if on_gpu:
                fold_norms(bundle.generator, GPU_AUDIO)

    @property
    def statistics(self) -> tuple[float, float] | None:
        """Mean and deviation that normalise all audio; None if those of each clip do."""
        return FIXED_STATISTICS if self.bundle.generator.config.streaming else None

    @property
    def device(self) -> torch.device:
        """Device of the networks."""
        return next(self.bundle.generator.parameters()).device

    # One window.

    def encode(self, windows: Sequence[tuple[ClipInputs, int]]) -> Fused:
        """Encode audio and words of windows, given as clip and number.

        Returns:
            Features (W, T, audio_dim), one row per window in the given order.

        """
        half = self.precision == "half" and self.device.type == "cuda"
        with torch.autocast(self.device.type, GPU_AUDIO, enabled=half):
            encoded = encode_windows(self.bundle.generator, windows, self.layout)
        return Fused(*(branch.float() for branch in encoded))

    def start(self, initial_motion: Tensor, speaker_index: Tensor) -> SynthesisState:
        """Return the state before the first window.

        Args:
            initial_motion: Motion (B, 4, 337) of the first frames.
            speaker_index: Row of the speaker embedding (B,).

        """
        return SynthesisState(
            context=initial_motion.float().to(self.device),
            first_frame=initial_motion[:, 0].float().to(self.device),
            speaker_index=speaker_index.to(self.device),
            windows=0,
        )

    def step(self, state: SynthesisState, window: Fused) -> tuple[Codes, SynthesisState]:
        """Generate the next window of B clips.

        Args:
            state: State after the previous window.
            window: Encoded audio and words (B, T, audio_dim) of the window (`encode`).

        Returns:
            Code indices (B, n) of the new frames, which `decode` turns into motion, and the state
            after the window. The first window has 64 new frames, every later one 60. With a pace,
            the frames of the look-ahead follow the new ones, and later windows choose them again.

        """
        noise = self.choice.noise(state)
        if self._recorded is None:
            codes, after = self._compute(state, window, noise)
        else:
            number = state.windows
            kind = (self.layout.known_frames(number), self.layout.arrived_frames(number))
            codes, after = self._recorded(kind, state, window, noise)
        return self.new_frames(state, codes), after

    def _compute(
        self, state: SynthesisState, window: Fused, noise: Noise
    ) -> tuple[Codes, SynthesisState]:
        """Return all codes (B, T) of the next window, and the state after it."""
        codes = self.choice.choose(self.predict(state, window), state, noise)
        return codes, self.advance(state, codes)

    def predict(self, state: SynthesisState, window: Fused) -> GeneratorOutput:
        """Run the generator on the next window of B clips."""
        context = state.context
        motion = context.new_zeros(len(context), self.layout.window, MOTION_DIM)
        motion[:, : context.shape[1]] = context
        visible_frames = self.layout.context_frames
        if self.bundle.generator.config.streaming:
            visible_frames = context.shape[1]
        visible = relative_motion(motion) if self.rules.relative_position else motion
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "half"):
            output = self._network.forward_fused(
                window,
                state.speaker_index[:, None].expand(-1, self.layout.window),
                visible,
                full_mask(motion, visible_frames),
            )
        latent, logits = ({part: x.float() for part, x in rows.items()} for rows in output)
        return GeneratorOutput(latent, logits)

    def new_frames(self, state: SynthesisState, codes: Codes) -> Codes:
        """Return the codes of a window without those of its context."""
        known = self.layout.known_frames(state.windows)
        return {part: index[:, known:] for part, index in codes.items()}

    def advance(self, state: SynthesisState, codes: Codes) -> SynthesisState:
        """Return the state after a window with the given codes (B, T)."""
        layout = self.layout
        offset = layout.first_frame(state.windows)
        known = slice(
            layout.first_frame(state.windows + 1) - offset,
            layout.covered_frames(state.windows + 1) - offset,
        )
        recent = slice(max(0, known.stop - MEMORY), known.stop)
        return SynthesisState(
            context=self._context(state, codes, known),
            first_frame=state.first_frame,
            speaker_index=state.speaker_index,
            windows=state.windows + 1,
            context_codes={part: index[:, known] for part, index in codes.items()},
            recent_codes={part: index[:, recent] for part, index in codes.items()},
        )

    def _context(self, state: SynthesisState, codes: Codes, known: slice) -> Tensor:
        """Return the motion (B, c, 337) of the frames that the next window starts with.

        Args:
            state: State before the window.
            codes: Codes (B, T) of the window.
            known: These frames in the window.

        """
        begin, end = 0, codes["upper"].shape[1]
        if self.rules.relative_position:
            # Nothing depends on where the root is, so the frames before are not needed.
            begin = max(begin, known.start - self._reach)
            end = min(end, known.stop + self._reach)
        parts = decode_parts(self.bundle, {part: x[:, begin:end] for part, x in codes.items()})
        lower = parts["lower"]
        chosen = PARTS if self.rules.decoded_context else PARTS[1:]
        origin = state.context[:, 0] if self.rules.decoded_context else state.first_frame

        motion = lower.new_zeros(*lower.shape[:2], MOTION_DIM)
        motion[..., :POSE_DIM] = assemble_pose(parts, chosen, self.rules)
        motion[..., TRANSLATION] = integrate_ground(
            lower[..., PART_TRANSLATION], origin[:, TRANSLATION]
        )
        motion[..., CONTACT] = lower[..., PART_CONTACT]
        return motion[:, known.start - begin : known.stop - begin]

    def bounds(self, start: Tensor) -> Bounds | None:
        """Return how far the root may go from its translation (B, 3) in the first frame."""
        reach = self.bundle.reach
        if reach is None or not self.rules.bounded_position:
            return None
        return Bounds(start, reach)

    def lock_feet(self, motion: SmplxMotion) -> SmplxMotion:
        """Hold the planted feet of a whole clip still, if the rules and the bundle say so."""
        if (rest := self.bundle.rest_joints) is None or not self.rules.locked_feet:
            return motion
        from mambatalk.motion.feet import lock_feet  # It imports SciPy, which takes half a second.

        return lock_feet(motion, rest.numpy())

    # Clips.

    def generate(self, speech: Speech) -> SmplxMotion:
        """Generate the motion of one clip at 30 fps.

        Raises:
            InputError: There is too little audio, it is not finite, the speaker is unknown, or
                published synthesis has no initial motion.

        """
        (motion,) = self.generate_batch([speech])
        return motion

    def generate_batch(self, speeches: Sequence[Speech]) -> list[SmplxMotion]:
        """Generate the motion of several clips side by side.

        Last bits may differ from those of `generate`, since batches are summed in another order.

        Raises:
            InputError: As `generate`.

        """
        return self.motion_of_codes(self.generate_codes(speeches), speeches)

    @torch.inference_mode()
    def motion_of_codes(
        self, codes: Sequence[Codes], speeches: Sequence[Speech]
    ) -> list[SmplxMotion]:
        """Return the motion of the codes (1, n) that were generated for each speech."""
        if not codes:
            return []
        start = torch.stack(
            [
                self.initial_motion(speech.initial_motion)[0, TRANSLATION]
                for _, speech in zip(codes, speeches, strict=True)
            ]
        )
        decoded = decode_clips(self.bundle, codes, self.rules)
        lengths = [len(index["upper"][0]) for index in codes]
        motions = to_smplx(decoded, lengths, start, self.rules, self.bounds(start))
        return [self.lock_feet(motion) for motion in motions]

    @torch.inference_mode()
    def generate_codes(self, speeches: Sequence[Speech]) -> list[Codes]:
        """Generate the codes (1, n) of several clips side by side.

        Raises:
            InputError: As `generate`.

        """
        if not speeches:
            return []
        check = partial(check_audio, layout=self.layout)
        for _ in on_threads(check, speeches, self.device):
            pass
        initial = torch.stack([self.initial_motion(speech.initial_motion) for speech in speeches])
        counts = [self.layout.count(speech.frame_count) for speech in speeches]
        # Longest first, so that the clips with windows left are always the first rows.
        order = sorted(range(len(speeches)), key=lambda clip: -counts[clip])
        windows = encoded_windows(
            self.encode,
            ClipInputs.of_clips([speeches[clip] for clip in order], self.device, self.statistics),
            [counts[clip] for clip in order],
            # A graph has a fixed number of clips.
            all_rows=self._recorded is not None,
            beside=self._beside,
        )
        speakers = [self.speaker_index(speeches[clip].speaker_id) for clip in order]
        state = self.start(initial[order], torch.tensor(speakers))
        generated = []
        for number, window in enumerate(windows):
            codes, state = self.step(state.first_rows(len(window.face)), window)
            added = self.layout.added_frames(number)
            active = sum(count > number for count in counts)
            generated.append({part: codes[part][:active, :added] for part in PARTS})
        return _by_clip(generated, order, speeches)

    # Input.

    def speaker_index(self, speaker_id: int) -> int:
        """Return the row of the speaker embedding.

        Raises:
            InputError: The bundle was not trained on this speaker.

        """
        if speaker_id not in self.bundle.speakers:
            raise InputError(
                "speaker",
                f"expected one of {sorted(self.bundle.speakers)}, found {speaker_id}",
                "choose a speaker that the bundle was trained on",
            )
        return self.bundle.speakers[speaker_id]

    def initial_motion(self, given: NDArray[np.float32] | None) -> Tensor:
        """Return the motion (4, 337) of the first frames: the given one, or the rest pose.

        Raises:
            InputError: The given motion has another shape, or published synthesis has none.

        """
        expected = (self.layout.context_frames, MOTION_DIM)
        if given is None:
            if not self.rules.start_from_rest_pose:
                raise InputError(
                    "initial motion",
                    f"expected {expected[0]} frames of recorded motion, found none",
                    "use corrected fidelity, which starts from a rest pose",
                )
            return self.bundle.rest.expand(expected)
        if given.shape != expected:
            raise InputError(
                "initial motion",
                f"expected shape {expected}, found shape {given.shape}",
                "give the motion of the first frames",
            )
        return torch.tensor(given)


def _by_clip(
    generated: Sequence[Codes], order: Sequence[int], speeches: Sequence[Speech]
) -> list[Codes]:
    """Return the codes (1, n) of each speech.

    Args:
        generated: Codes of consecutive windows, one row for each clip that goes on.
        order: Number of the speech that each row belongs to.
        speeches: Speech of each clip.

    """
    same_clips = groupby(generated, key=lambda codes: len(codes["upper"]))
    runs = [join_codes(windows) for _, windows in same_clips]
    clips: list[Codes] = [{} for _ in speeches]
    for row, clip in enumerate(order):
        own = [
            {part: index[row : row + 1] for part, index in run.items()}
            for run in runs
            if len(run["upper"]) > row
        ]
        clips[clip] = join_codes(own, speeches[clip].frame_count)
    return clips
