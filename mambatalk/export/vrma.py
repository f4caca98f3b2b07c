"""VRM animation (.vrma): motion for any VRM avatar, by the names of its humanoid bones.

The extension is VRMC_vrm_animation 1.0. Eyes and expressions are left out: avatars have their own,
and SMPL-X's expressions have no names.
"""

from pathlib import Path
from typing import Final

from mambatalk.export.gltf import Document
from mambatalk.motion.body import Body
from mambatalk.motion.clip import SmplxMotion
from mambatalk.motion.skeleton import JOINTS

EXTENSION: Final = "VRMC_vrm_animation"
_SIDED: Final = {
    "UpperLeg": "hip",
    "LowerLeg": "knee",
    "Foot": "ankle",
    "Toes": "foot",
    "Shoulder": "collar",
    "UpperArm": "shoulder",
    "LowerArm": "elbow",
    "Hand": "wrist",
    "ThumbMetacarpal": "thumb1",
    "ThumbProximal": "thumb2",
    "ThumbDistal": "thumb3",
    **{
        f"{bone}{segment}": f"{finger}{k}"
        for bone, finger in (
            ("Index", "index"),
            ("Middle", "middle"),
            ("Ring", "ring"),
            ("Little", "pinky"),
        )
        for k, segment in ((1, "Proximal"), (2, "Intermediate"), (3, "Distal"))
    },
}
HUMANOID: Final = {
    "hips": "pelvis",
    "spine": "spine1",
    "chest": "spine2",
    "upperChest": "spine3",
    "neck": "neck",
    "head": "head",
    "jaw": "jaw",
    **{
        f"{side}{bone}": f"{side}_{joint}"
        for side in ("left", "right")
        for bone, joint in _SIDED.items()
    },
}
"""VRM's humanoid bones and SMPL-X's joints."""


def write_vrma(path: str | Path, motion: SmplxMotion, body: Body) -> None:
    """Write motion for VRM avatars.

    Args:
        path: File to write.
        motion: The motion.
        body: Body model, which gives the skeleton.

    Raises:
        InputError: The file cannot be written.

    """
    document = Document(motion, body)
    document.add_animation(skipped=("left_eye", "right_eye"))
    bones = {bone: {"node": JOINTS.index(joint)} for bone, joint in HUMANOID.items()}
    document.json["extensionsUsed"] = [EXTENSION]
    document.json["extensions"] = {
        EXTENSION: {"specVersion": "1.0", "humanoid": {"humanBones": bones}}
    }
    document.write(path)
