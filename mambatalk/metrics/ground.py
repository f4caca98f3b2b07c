"""Where the body stands: drift and height of the pelvis, sliding feet, and feet below the floor.

Positions include the translation; y is up. The floor is the height on which the person of the
recording stands (`kinematics.floor_height`), so that a corpus whose floor is not at 0 is measured
fairly.
"""

from typing import Final

import torch
from torch import Tensor
from torchmetrics import Metric

from mambatalk.metrics.variant import ClipMean, check_clip
from mambatalk.motion.kinematics import foot_sliding_speed
from mambatalk.motion.skeleton import FPS

DRIFT_SECONDS: Final = 10.0
"""Time over which drift is measured: longer than a step or a shift of weight takes."""
SKATING_HEIGHT: Final = 0.05
"""Height above the floor below which the published ratio takes a foot to be in contact, metres."""
SKATING_SPEED: Final = 0.5
"""Horizontal speed above which a foot in contact skates, metres per second: 2.5 cm in a frame of
the 20 frames per second of the published ratio."""


class RootDrift(ClipMean):
    """Mean horizontal distance of the pelvis from its place 10 s before, in metres.

    In a clip of less than 10 s, from its place at the start of the clip to that at the end. Compare
    with ground truth over the same clips: people sway and step, but stay.

    Formula: mean over frames t of `|p[t + 300] - p[t]|`, p being the pelvis in the plane of the
    floor.

    Source: own; drift of the root over a fixed time.

    """

    def update(self, root: Tensor) -> None:
        """Add one clip: position of the pelvis (n, 3) in metres. One frame has no drift."""
        check_clip("root", root.unsqueeze(1))
        frames = min(round(DRIFT_SECONDS * FPS), len(root) - 1)
        if not frames:
            return
        moved = (root[frames:] - root[:-frames])[:, [0, 2]].double()
        self.add(float(moved.norm(dim=-1).mean()), len(root))


class HeightError(ClipMean):
    """Difference of the mean height of the pelvis from the recording, in metres, without sign.

    Formula: `|mean of y - mean of y of the recording|`, y being the height of the pelvis.

    Source: own.

    """

    higher_is_better = False

    def update(self, root: Tensor, truth: Tensor) -> None:
        """Add one clip: position of the pelvis (n, 3) in metres, and that of the recording."""
        check_clip("root", root.unsqueeze(1), like=truth.unsqueeze(1))
        check_clip("root of the truth", truth.unsqueeze(1))
        difference = root[:, 1].double().mean() - truth[:, 1].double().mean()
        self.add(abs(float(difference)), len(root))


class FootSkating(ClipMean):
    """Mean horizontal speed of ankles and feet while they are on the floor, in metres per second.

    A foot is on the floor near its own lowest height in the clip (see `foot_sliding_speed`), so
    that a body that floats or sinks cannot avoid contact. Real feet slide a little while they roll.

    Formula: mean of `30 |p[t + 1] - p[t]|` over the frames in which a joint is less than 3 cm above
    its lowest height (the second percentile), p being the joint in the plane of the floor.

    Source: own; `foot_skate` of the features. "Skate" of PhysDiff (Yuan et al., 2023) is likewise
    the distance that a foot in contact moves per frame.

    """

    higher_is_better = False

    def update(self, feet: Tensor) -> None:
        """Add one clip of ankles and feet (n, 4, 3) in metres. One frame has no speed."""
        check_clip("feet", feet)
        if len(feet) > 1:
            self.add(foot_sliding_speed(feet.cpu().numpy()), len(feet) - 1)


class FootSkatingRatio(ClipMean):
    """Share of frames in which a foot skates: near the floor, and faster than 0.5 m/s.

    A body that floats more than 5 cm above the floor has ratio 0; read it with the height.

    Formula: share of steps from a frame to the next in which a foot joint has `y - floor < 0.05` in
    both frames and moves by `30 |p[t + 1] - p[t]| > 0.5` in the plane of the floor.

    Source: foot skating ratio of GMD (Karunratanakul et al., 2023), also of OmniControl: a foot
    below 5 cm that moves more than 2.5 cm in a frame of 1/20 s.

    """

    higher_is_better = False

    def update(self, feet: Tensor, floor: float) -> None:
        """Add one clip.

        Args:
            feet: Ankles and feet (n, 4, 3) in metres; the ratio uses the feet alone.
            floor: Height of the floor, from `floor_height` of the recording.

        """
        check_clip("feet", feet)
        if len(feet) < 2:
            return
        soles = feet[:, 2:].double()
        low = soles[..., 1] - floor < SKATING_HEIGHT
        speed = soles[..., [0, 2]].diff(dim=0).norm(dim=-1) * FPS
        skates = low[:-1] & low[1:] & (speed > SKATING_SPEED)
        self.add(float(skates.any(dim=1).double().mean()), len(feet) - 1)


class FloorPenetration(ClipMean):
    """Mean depth of the lowest foot joint below the floor in metres; 0 in frames above it.

    Formula: mean over frames of `max(0, floor - y)`, y being the height of the lowest foot joint.

    Source: "Penetrate" of PhysDiff (Yuan et al., 2023), of joints instead of the mesh, whose lowest
    vertices differ between bodies.

    """

    higher_is_better = False

    def update(self, feet: Tensor, floor: float) -> None:
        """Add one clip, as in `FootSkatingRatio`."""
        check_clip("feet", feet)
        self.add(float(_depth(feet, floor).mean()), len(feet))


class DeepestPenetration(Metric):
    """Depth in metres of the deepest foot joint below the floor in any frame of any clip.

    A maximum and not a mean, so that a body that falls through the floor at the end of one clip
    shows. Calling the metric returns the value of that clip alone.

    Formula: maximum over frames and clips of `max(0, floor - y)`, as in `FloorPenetration`.

    Source: own, beside `FloorPenetration`.

    """

    full_state_update = False
    higher_is_better = False
    deepest: Tensor
    weight: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_state("deepest", torch.zeros((), dtype=torch.float64), dist_reduce_fx="max")
        self.add_state("weight", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, feet: Tensor, floor: float) -> None:
        """Add one clip, as in `FootSkatingRatio`."""
        check_clip("feet", feet)
        self.deepest = torch.maximum(self.deepest, _depth(feet, floor).max())
        self.weight = self.weight + len(feet)

    def compute(self) -> Tensor:
        """Return the depth (scalar, float64); NaN without clips."""
        return torch.where(self.weight > 0, self.deepest, torch.nan)


def _depth(feet: Tensor, floor: float) -> Tensor:
    """Return the depth (n,) of the lowest foot joint below the floor, at least 0."""
    return (floor - feet[..., 1].double().amin(dim=1)).clamp(min=0)
