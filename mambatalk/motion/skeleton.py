"""The 55 SMPL-X joints, the body parts of MambaTalk and the layout of its 337 motion channels.

One frame of motion is 337 numbers: 55 joints x 6D rotation (0:330), translation in metres (330:333)
and four foot contacts (333:337). Expression coefficients (100) are a separate array. Motion has 30
frames per second, audio 16,000 samples per second. Source: published loaders and configurations.
"""

from types import MappingProxyType
from typing import Final, Literal, get_args

import numpy as np
from numpy.typing import NDArray

FPS: Final = 30
SAMPLE_RATE: Final = 16_000

JOINTS: Final = (
    "pelvis",
    "left_hip",
    "right_hip",
    "spine1",
    "left_knee",
    "right_knee",
    "spine2",
    "left_ankle",
    "right_ankle",
    "spine3",
    "left_foot",
    "right_foot",
    "neck",
    "left_collar",
    "right_collar",
    "head",
    "left_shoulder",
    "right_shoulder",
    "left_elbow",
    "right_elbow",
    "left_wrist",
    "right_wrist",
    "jaw",
    "left_eye",
    "right_eye",
    *(
        f"{side}_{finger}{k}"
        for side in ("left", "right")
        for finger in ("index", "middle", "pinky", "ring", "thumb")
        for k in (1, 2, 3)
    ),
)
"""Joint names in SMPL-X order."""

# Pelvis to wrists, then jaw and eyes, which hang on the head (15).
_BODY_PARENTS: Final = (
    *(-1, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 12, 13, 14, 16, 17, 18, 19),
    *(15, 15, 15),
)
# Three joints per finger; the first hangs on the wrist (20 left, 21 right).
_FINGER_PARENTS: Final = tuple(
    parent
    for wrist, first in ((20, 25), (21, 40))
    for joint in range(first, first + 15, 3)
    for parent in (wrist, joint, joint + 1)
)
PARENTS: Final = (*_BODY_PARENTS, *_FINGER_PARENTS)
"""Parent of each joint in the kinematic tree; -1 at the root."""

JOINT_COUNT: Final = 55
POSE_DIM: Final = 6 * JOINT_COUNT
TRANSLATION: Final = slice(POSE_DIM, POSE_DIM + 3)
CONTACT: Final = slice(POSE_DIM + 3, POSE_DIM + 7)
MOTION_DIM: Final = POSE_DIM + 7
EXPRESSION_DIM: Final = 100
BETAS_DIM: Final = 300

FOOT_JOINTS: Final = (7, 8, 10, 11)
"""Left ankle, right ankle, left foot, right foot: the order of the four contacts."""
LEG_CHAINS: Final = ((1, 4, 7, 10), (2, 5, 8, 11))
"""Hip, knee, ankle and foot of the left and the right leg."""

Part = Literal["face", "upper", "hands", "lower"]
AutoEncoderName = Literal["face", "upper", "hands", "lower", "global"]
PARTS: Final[tuple[Part, ...]] = get_args(Part)
"""The four parts that have codes, in the order of all per-part tensors and tables."""
AUTO_ENCODERS: Final[tuple[AutoEncoderName, ...]] = get_args(AutoEncoderName)
"""The five auto-encoders of stage 1: the four parts, and the global-motion network (no codes)."""

PART_JOINTS: Final = MappingProxyType(
    {
        "face": (22,),
        "upper": (3, 6, 9, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21),
        "hands": tuple(range(25, 55)),
        "lower": (0, 1, 2, 4, 5, 7, 8, 10, 11),
    }
)
"""Joints of each part, ascending. The eyes (23, 24) do not belong to any part."""

TRACKED_PARTS: Final = MappingProxyType(
    {
        "jaw": (22,),
        "left_hand": tuple(range(25, 40)),
        "right_hand": tuple(range(40, 55)),
        "arms": tuple(range(16, 22)),
        "legs": (1, 2, 4, 5, 7, 8, 10, 11),
        "face": (),
    }
)
"""Joints of the parts that a tracker can lose; the face has expressions instead. Eyes are left out:
many recordings do not track them, and no model here is trained on them.
"""

PART_DIMS: Final = MappingProxyType(
    {"face": 106, "upper": 78, "hands": 180, "lower": 61, "global": 61}
)
"""Channels that each auto-encoder reads and writes.

Face: jaw 6 + expression 100. Lower and global: legs 54, translation 3, contact 4."""


def pose_channels(part: Part) -> NDArray[np.int64]:
    """Return the indices of a part's 6D rotations among the 337 channels, joints ascending."""
    joints = np.array(PART_JOINTS[part])
    return (6 * joints[:, None] + np.arange(6)).ravel()
