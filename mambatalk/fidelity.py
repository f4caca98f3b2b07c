"""Rules that decide between the published implementation's behaviour and its correction.

`fidelity` in `params.yaml` is `published` or `corrected`. It is turned into a `FidelityRules` once,
and code reads the one rule that concerns it. docs/fidelity.md describes every difference and names
the test that shows it.

Two differences have no rule, because the project behaves the same under both values: codes are
encoded once and the auto-encoders stay frozen while the generator trains, and validation uses the
validation split.
"""

from dataclasses import dataclass, fields
from typing import Final, Literal

Fidelity = Literal["corrected", "published"]


@dataclass(frozen=True, kw_only=True)
class FidelityRules:
    """One field for each difference; True selects the corrected behaviour.

    A single rule can be changed with `dataclasses.replace`, for example to measure what one
    published fault costs.
    """

    exact_audio_slice: bool
    """Cut the audio of a window at its exact sample. Published: 533 samples a frame, which drifts
    by 37 ms a minute.
    """
    decoded_context: bool
    """Continue a window from the decoded face and the integrated translation of the previous one.
    Published: identity jaw, and a translation that restarts at the first frame of the clip.
    """
    start_from_rest_pose: bool
    """Start from the rest pose if no initial motion is given. Published: initial motion is
    required.
    """
    cover_all_frames: bool
    """Generate the frames past the last full window. Published: they are dropped."""
    stable_axis_angle: bool
    """Convert rotation matrices to axis-angle with roma. Published: square roots with copied
    signs, which lose small angles.
    """
    zero_contacts_for_global_net: bool
    """Give the global-motion network zeros for contacts, as in its training. Published: the
    predicted contacts.
    """
    relative_position: bool
    """Count x and z from the first frame of each window, in training and synthesis. Published:
    absolute position.
    """
    coherent_codes: bool
    """Draw the body's codes as sequences, under the transitions seen in training. Published: the
    most likely code of each frame by itself, so that parts hardly move where speech does not
    determine their motion.
    """
    bounded_position: bool
    """Keep the root within the reach of the training clips. Published: the integral of its velocity
    drifts without bound.
    """
    locked_feet: bool
    """Hold planted feet still. Published: they slide where root and legs disagree."""
    time_aligned_attention: bool
    """Let the body's attention to the audio favour its own time. Published: it sees the audio
    frames as a set.
    """
    mesh_velocity_along_time: bool
    """Take differences of meshes along time. Published: along the vertex index."""
    matching_face_expressions: bool
    """Give each face mesh its own expressions. Published: the two meshes swap them."""
    ground_velocity: bool
    """Predict the lower body's translation as ground velocity, supervise it, and take half of the
    root's velocity from it. Published: absolute position, unsupervised and not used for the root.
    """
    single_random_pass: bool
    """Run one randomly masked pass of weight 2 per step. Published: two passes of weight 1."""
    revive_dead_codes: bool
    """Move unused codes onto latents of the batch. Published: they stay unused."""
    replicate_borders: bool
    """Let the auto-encoders' convolutions see the first and last frame again beyond the ends of the
    motion. Published: zeros, which no pose resembles.
    """
    data_dependent_init: bool
    """Fit the first weights of the auto-encoders to the data. Published: random weights."""
    best_epoch: bool
    """Keep the weights of the epoch with the lowest validation loss, if the configuration says so.
    Published: the last epoch.
    """
    current_statistics: bool
    """Compute the statistics of batch norms anew after every epoch, with its last weights.
    Published: moving averages over the last steps, in which the weights have changed.
    """
    text_dropout: bool
    """Drop the words of random windows in training, so that audio alone works. Published: words
    are always present.
    """
    keep_partial_seconds: bool
    """Cut training windows from all frames of a clip. Published: from whole seconds only."""
    emotion_from_recording_number: bool
    """Read the emotion label from the recording number. Published: from the wrong field, so that
    every clip is neutral.
    """
    training_vocabulary: bool
    """Build the vocabulary from training clips. Published: from all clips, test clips included."""
    consistent_words: bool
    """Clean words the same way for the vocabulary and for look-up, and treat silence as padding.
    Published: look-up keeps punctuation, and silence is a word or unknown.
    """
    half_open_intervals: bool
    """Assign a frame on a border to the word that begins. Published: to the word that ends."""

    @classmethod
    def of(cls, fidelity: Fidelity) -> "FidelityRules":
        """Return the rules of one value of `fidelity`.

        Raises:
            ValueError: The value is neither `published` nor `corrected`.

        """
        if fidelity not in ("published", "corrected"):
            raise ValueError(f"fidelity: expected published or corrected, found {fidelity!r}")
        corrected = fidelity == "corrected"
        return cls(**{field.name: corrected for field in fields(cls)})


PUBLISHED: Final = FidelityRules.of("published")
CORRECTED: Final = FidelityRules.of("corrected")
