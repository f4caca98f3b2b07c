"""The 55 SMPL-X joints, the body parts of MambaTalk and the layout of its 337 motion channels.

One frame of motion is 337 numbers: 55 joints x 6D rotation (0:330), translation in metres (330:333)
and four foot contacts (333:337). Expressions (100) travel beside it. Frames come 30 a second, sound
16,000 samples a second.
Source: published loaders and configurations (reference implementation, section 1.2 and 1.4 of the
paper's code).
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

PARENTS: Final = (
    -1,
    0,
    0,
    0,
    1,
    2,
    3,
    4,
    5,
    6,
    7,
    8,
    9,
    9,
    9,
    12,
    13,
    14,
    16,
    17,
    18,
    19,
    15,
    15,
    15,
    20,
    25,
    26,
    20,
    28,
    29,
    20,
    31,
    32,
    20,
    34,
    35,
    20,
    37,
    38,
    21,
    40,
    41,
    21,
    43,
    44,
    21,
    46,
    47,
    21,
    49,
    50,
    21,
    52,
    53,
)
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

Part = Literal["face", "upper", "hands", "lower"]
AutoEncoder = Literal["face", "upper", "hands", "lower", "global"]
PARTS: Final[tuple[Part, ...]] = get_args(Part)
"""The four parts that have codes; their order is that of every per-part tensor and table."""
AUTO_ENCODERS: Final[tuple[AutoEncoder, ...]] = get_args(AutoEncoder)
"""The five auto-encoders of the representation stage: the four parts, then the global-motion net
(no codes).
"""

PART_JOINTS: Final = MappingProxyType(
    {
        "face": (22,),
        "upper": (3, 6, 9, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21),
        "hands": tuple(range(25, 55)),
        "lower": (0, 1, 2, 4, 5, 7, 8, 10, 11),
    }
)
"""Joints of each part, ascending; the eyes (23, 24) belong to none."""

PART_DIMS: Final = MappingProxyType(
    {"face": 106, "upper": 78, "hands": 180, "lower": 61, "global": 61}
)
"""Channels each auto-encoder reads and writes. Face: jaw 6 + expression 100. Lower and global: legs
54, translation 3, contact 4."""


def pose_channels(part: Part) -> NDArray[np.int64]:
    """Indices of a part's 6D rotations among the 337 motion channels, joints ascending."""
    joints = np.array(PART_JOINTS[part])
    return (6 * joints[:, None] + np.arange(6)).ravel()


def motion_channels(part: Part) -> NDArray[np.int64]:
    """Indices of all channels of a part among the 337: its rotations; for `lower` translation and
    contact too.
    """
    extra = np.arange(POSE_DIM, MOTION_DIM) if part == "lower" else np.arange(0)
    return np.concatenate([pose_channels(part), extra])
