"""glTF 2.0: skeleton, animation and mesh in one .glb file, which engines and browsers read.

Lengths are in metres, y is up and the figure faces z. The rest pose is the T-pose with the soles at
height 0. docs/decisions.md says why no library writes these files.
"""

import json
import struct
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from mambatalk.export.mesh import Material, Mesh, build_mesh
from mambatalk.export.rest import bone_offsets, local_rotations, rest_joints
from mambatalk.files import atomic_file
from mambatalk.motion.body import Body
from mambatalk.motion.clip import SmplxMotion
from mambatalk.motion.skeleton import JOINT_COUNT, JOINTS, PARENTS

Kind = Literal["SCALAR", "VEC3", "VEC4", "MAT4"]

FLOAT: Final = 5126
COMPONENTS: Final = {"float32": FLOAT, "uint8": 5121, "uint16": 5123, "uint32": 5125}
VERTEX_DATA: Final = 34962
INDEX_DATA: Final = 34963
MAGIC: Final = b"glTF"
JSON_CHUNK: Final = b"JSON"
BINARY_CHUNK: Final = b"BIN\0"
COLOURS: Final[dict[Material, list[float]]] = {
    "figure": [0.12, 0.24, 0.55, 1.0],
    "eye": [0.85, 0.85, 0.85, 1.0],
    "pupil": [0.01, 0.01, 0.01, 1.0],
}
"""Linear red, green, blue, and opacity."""


class Document:
    """A glTF document with one buffer, and its writer.

    Args:
        motion: Motion whose animation it gets.
        body: Body model, which gives the skeleton.

    """

    def __init__(self, motion: SmplxMotion, body: Body) -> None:
        self._binary = bytearray()
        self._motion = motion
        joints = rest_joints(body, motion)
        self.pelvis = joints[0].copy()
        # Soles at height 0 in the rest pose.
        self.lift = -_sole_height(body, joints)
        self.joints = joints + [0, self.lift, 0]
        self.json: dict[str, Any] = {
            "asset": {"version": "2.0", "generator": "MambaTalk"},
            "scene": 0,
            "scenes": [{"nodes": [0]}],
            "nodes": _nodes(self.joints),
            "accessors": [],
            "bufferViews": [],
        }

    def accessor(
        self,
        values: NDArray[Any],
        kind: Kind,
        *,
        target: int | None = None,
        bounds: bool = False,
    ) -> int:
        """Append an array to the buffer and return the index of its accessor.

        Args:
            values: The array, one element per row.
            kind: Type of an element.
            target: What the GPU uses it for. If None, it is animation.
            bounds: Write the smallest and the largest element, which positions and times need.

        """
        view: dict[str, Any] = self._view(values)
        if target is not None:
            view["target"] = target
        accessor: dict[str, Any] = {
            "bufferView": len(self.json["bufferViews"]),
            "componentType": COMPONENTS[values.dtype.name],
            "count": len(values),
            "type": kind,
        }
        if bounds:
            rows = values.reshape(len(values), -1)
            accessor["min"] = rows.min(axis=0).tolist()
            accessor["max"] = rows.max(axis=0).tolist()
        self.json["bufferViews"].append(view)
        self.json["accessors"].append(accessor)
        return len(self.json["accessors"]) - 1

    def sparse_accessor(self, values: NDArray[np.float32]) -> int:
        """Append vectors (V, 3), of which most are zero, and return the index of the accessor."""
        moved = np.flatnonzero(np.abs(values).max(axis=1) > 0)
        # The format requires at least one element.
        moved = moved if len(moved) else np.array([0])
        views = self.json["bufferViews"]
        views.append(self._view(moved.astype(np.uint32)))
        views.append(self._view(values[moved]))
        self.json["accessors"].append(
            {
                "componentType": FLOAT,
                "count": len(values),
                "type": "VEC3",
                "min": values.min(axis=0).tolist(),
                "max": values.max(axis=0).tolist(),
                "sparse": {
                    "count": len(moved),
                    "indices": {
                        "bufferView": len(views) - 2,
                        "componentType": COMPONENTS["uint32"],
                    },
                    "values": {"bufferView": len(views) - 1},
                },
            }
        )
        return len(self.json["accessors"]) - 1

    def add_animation(self, skipped: tuple[str, ...] = ()) -> None:
        """Add the rotations of all joints but the skipped ones, and the path of the pelvis."""
        motion = self._motion
        times = (np.arange(len(motion)) / motion.fps).astype(np.float32)
        time = self.accessor(times, "SCALAR", bounds=True)
        quaternions = _continuous(local_rotations(motion).as_quat(), len(motion))
        pelvis_path = (motion.trans + self.pelvis).astype(np.float32)
        channels = [(0, "translation", self.accessor(pelvis_path, "VEC3"))]
        channels += [
            (joint, "rotation", self.accessor(quaternions[:, joint], "VEC4"))
            for joint in range(JOINT_COUNT)
            if JOINTS[joint] not in skipped
        ]
        self.json["animations"] = [
            {
                "name": "speech",
                "samplers": [
                    {"input": time, "output": output, "interpolation": "LINEAR"}
                    for *_, output in channels
                ],
                "channels": [
                    {"sampler": sampler, "target": {"node": node, "path": animated}}
                    for sampler, (node, animated, _) in enumerate(channels)
                ],
            }
        ]

    def add_mesh(self, mesh: Mesh) -> None:
        """Add a mesh that the skeleton moves, with animated morph targets."""
        vertices = mesh.vertices + np.array([0, self.lift, 0], np.float32)
        attributes = {
            "POSITION": self.accessor(vertices, "VEC3", target=VERTEX_DATA, bounds=True),
            "NORMAL": self.accessor(mesh.normals, "VEC3", target=VERTEX_DATA),
            "JOINTS_0": self.accessor(mesh.joints, "VEC4", target=VERTEX_DATA),
            "WEIGHTS_0": self.accessor(mesh.weights, "VEC4", target=VERTEX_DATA),
        }
        targets = [{"POSITION": self.sparse_accessor(target)} for target in mesh.targets]
        primitives: list[dict[str, Any]] = [
            {
                "attributes": attributes,
                "indices": self.accessor(faces.ravel(), "SCALAR", target=INDEX_DATA),
                "material": number,
                **({"targets": targets} if targets else {}),
            }
            for number, faces in enumerate(mesh.faces.values())
        ]
        described: dict[str, Any] = {"name": "body", "primitives": primitives}
        if targets:
            described["weights"] = [0.0] * len(targets)
        binds = np.tile(np.eye(4, dtype=np.float32), (JOINT_COUNT, 1, 1))
        # Matrices are stored column by column.
        binds[:, 3, :3] = -self.joints
        nodes = self.json["nodes"]
        nodes.append({"name": "body", "mesh": 0, "skin": 0})
        self.json["scenes"][0]["nodes"].append(len(nodes) - 1)
        self.json |= {
            "meshes": [described],
            "skins": [
                {
                    "joints": list(range(JOINT_COUNT)),
                    "skeleton": 0,
                    "inverseBindMatrices": self.accessor(binds, "MAT4"),
                }
            ],
            "materials": [
                {
                    "name": material,
                    "pbrMetallicRoughness": {
                        "baseColorFactor": COLOURS[material],
                        "metallicFactor": 0.0,
                        "roughnessFactor": 0.55,
                    },
                }
                for material in mesh.faces
            ],
        }
        if len(mesh.targets):
            weights = self.accessor(mesh.target_weights.reshape(-1), "SCALAR")
            (animation,) = self.json["animations"]
            time = animation["samplers"][0]["input"]
            animation["samplers"].append({"input": time, "output": weights})
            target = {"node": len(nodes) - 1, "path": "weights"}
            animation["channels"].append(
                {"sampler": len(animation["samplers"]) - 1, "target": target}
            )

    def write(self, path: str | Path) -> None:
        """Write the .glb file.

        Raises:
            InputError: The file cannot be written.

        """
        self.json["buffers"] = [{"byteLength": len(self._binary)}]
        text = json.dumps(self.json, separators=(",", ":"), allow_nan=False).encode()
        chunks = _chunk(JSON_CHUNK, text, b" ") + _chunk(BINARY_CHUNK, bytes(self._binary), b"\0")
        with atomic_file(path) as temporary:
            temporary.write_bytes(MAGIC + struct.pack("<II", 2, 12 + len(chunks)) + chunks)

    def _view(self, values: NDArray[Any]) -> dict[str, Any]:
        content = np.ascontiguousarray(values).tobytes()
        offset = len(self._binary)
        self._binary += content
        self._binary += bytes(-len(content) % 4)
        return {"buffer": 0, "byteOffset": offset, "byteLength": len(content)}


def write_glb(path: str | Path, motion: SmplxMotion, body: Body) -> None:
    """Write skeleton, animation and mesh as .glb.

    `extras` of the file holds the error of the mesh against the body model in millimetres.

    Args:
        path: File to write.
        motion: The motion.
        body: Body model.

    Raises:
        InputError: The file cannot be written.

    """
    document = Document(motion, body)
    document.add_animation()
    mesh = build_mesh(body, motion)
    document.add_mesh(mesh)
    document.json["extras"] = {
        "body": body.kind,
        "frames": len(motion),
        "fps": motion.fps,
        "mesh_error_mm": mesh.errors_mm,
        "morph_targets": "directions of this clip's expressions; the npz has SMPL-X coefficients",
    }
    document.write(path)


def _sole_height(body: Body, joints: NDArray[np.float64]) -> float:
    """Return the height in metres of the lowest point of the mesh in the rest pose."""
    used = np.unique(body.faces.cpu().numpy())
    lowest = float(body.v_template[used, 1].min())
    # The template has the mean shape; other shapes have their soles as far below their ankles.
    mean = float(body.joint_template[list(range(JOINT_COUNT)), 1].min())
    return lowest - mean + float(joints[:, 1].min())


def _nodes(joints: NDArray[np.float64]) -> list[dict[str, Any]]:
    offsets = bone_offsets(joints)
    offsets[0] = joints[0]
    nodes: list[dict[str, Any]] = []
    for joint, name in enumerate(JOINTS):
        node: dict[str, Any] = {"name": name, "translation": offsets[joint].tolist()}
        children = [child for child in range(JOINT_COUNT) if PARENTS[child] == joint]
        if children:
            node["children"] = children
        nodes.append(node)
    return nodes


def _continuous(quaternions: NDArray[np.float64], frames: int) -> NDArray[np.float32]:
    """Return unit quaternions (n, 55, 4) that never jump to the opposite sign.

    Both signs mean the same rotation, but players interpolate between frames.
    """
    rows = quaternions.reshape(frames, JOINT_COUNT, 4)
    turned = (rows[1:] * rows[:-1]).sum(axis=-1, keepdims=True) < 0
    signs = np.cumprod(np.where(turned, -1.0, 1.0), axis=0)
    rows[1:] *= signs
    return rows.astype(np.float32)


def _chunk(name: bytes, content: bytes, padding: bytes) -> bytes:
    content += padding * (-len(content) % 4)
    return struct.pack("<I", len(content)) + name + content
