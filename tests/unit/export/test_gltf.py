"""glTF: the file that is read back moves as the body model, and Khronos' validator accepts it."""

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from mambatalk.export.gltf import write_glb
from mambatalk.export.vrma import HUMANOID, write_vrma
from mambatalk.motion.body import Body
from mambatalk.motion.clip import SmplxMotion
from mambatalk.motion.rotations import axis_angle_to_matrix
from mambatalk.motion.skeleton import JOINT_COUNT, JOINTS
from tests.helpers.node import read_vrma, validate_gltf
from tests.helpers.stand_in_body import stand_in_body
from tests.unit.export.test_bvh import motion_of_a_tall_person

TYPES = {5126: np.float32, 5121: np.uint8, 5123: np.uint16, 5125: np.uint32}
WIDTHS = {"SCALAR": 1, "VEC3": 3, "VEC4": 4, "MAT4": 16}


class Reader:
    """Reads a .glb file by its specification."""

    def __init__(self, path: Path) -> None:
        content = path.read_bytes()
        magic, version, length, size, kind = struct.unpack("<4sIII4s", content[:20])
        assert (magic, version, length, kind) == (b"glTF", 2, len(content), b"JSON")
        self.json: dict[str, Any] = json.loads(content[20 : 20 + size])
        self.binary = content[28 + size :]

    def view(self, index: int, dtype: Any, count: int) -> NDArray[Any]:
        start = self.json["bufferViews"][index].get("byteOffset", 0)
        return np.frombuffer(self.binary, dtype, count, start)

    def array(self, index: int) -> NDArray[Any]:
        accessor = self.json["accessors"][index]
        width, dtype = WIDTHS[accessor["type"]], TYPES[accessor["componentType"]]
        values = np.zeros((accessor["count"], width), dtype)
        if "bufferView" in accessor:
            flat = self.view(accessor["bufferView"], dtype, values.size)
            values = flat.reshape(values.shape).copy()
        if sparse := accessor.get("sparse"):
            count = sparse["count"]
            rows = self.view(sparse["indices"]["bufferView"], np.uint32, count)
            changed = self.view(sparse["values"]["bufferView"], dtype, count * width)
            values[rows] = changed.reshape(count, width)
        return values

    def tracks(self) -> dict[tuple[int, str], NDArray[Any]]:
        """Return the values of each animated property, by node and path."""
        (animation,) = self.json["animations"]
        return {
            (channel["target"]["node"], channel["target"]["path"]): self.array(
                animation["samplers"][channel["sampler"]]["output"]
            )
            for channel in animation["channels"]
        }

    def joint_transforms(self, frame: int) -> NDArray[np.float64]:
        """Return the world matrices (55, 4, 4) of the joints."""
        tracks = self.tracks()
        world = np.zeros((JOINT_COUNT, 4, 4))

        def place(node: int, parent: NDArray[np.float64]) -> None:
            local = np.eye(4)
            local[:3, 3] = self.json["nodes"][node]["translation"]
            if (node, "translation") in tracks:
                local[:3, 3] = tracks[node, "translation"][frame]
            if (node, "rotation") in tracks:
                local[:3, :3] = Rotation.from_quat(tracks[node, "rotation"][frame]).as_matrix()
            world[node] = parent @ local
            for child in self.json["nodes"][node].get("children", []):
                place(child, world[node])

        place(0, np.eye(4))
        return world

    def vertices(self, frame: int) -> NDArray[np.float64]:
        """Return the drawn vertices (V, 3) of the mesh."""
        (mesh,), (skin,) = self.json["meshes"], self.json["skins"]
        primitive = mesh["primitives"][0]
        rest = self.array(primitive["attributes"]["POSITION"]).astype(np.float64)
        if targets := primitive.get("targets"):
            node = next(k for k, node in enumerate(self.json["nodes"]) if "mesh" in node)
            weights = self.tracks()[node, "weights"].reshape(-1, len(targets))[frame]
            for weight, target in zip(weights, targets, strict=True):
                rest += weight * self.array(target["POSITION"])
        binds = self.array(skin["inverseBindMatrices"]).reshape(-1, 4, 4).transpose(0, 2, 1)
        moves = self.joint_transforms(frame) @ binds
        joints = self.array(primitive["attributes"]["JOINTS_0"])
        weights = self.array(primitive["attributes"]["WEIGHTS_0"])
        blended = np.einsum("vk,vkij->vij", weights, moves[joints])
        return np.einsum("vij,vj->vi", blended[:, :3, :3], rest) + blended[:, :3, 3]


def body_with_many_influences() -> Body:
    """Return the stand-in body with eight joints at each vertex, and with pose correctives."""
    body = stand_in_body()
    random = torch.Generator().manual_seed(0)
    weights = body.weights.clone()
    spread = 0.03 * torch.rand(len(weights), 8, generator=random)
    weights[:, :8] += spread
    weights /= weights.sum(dim=1, keepdim=True)
    arrays = dict(body.named_buffers())
    correctives = 1e-3 * torch.randn(body.posedirs.shape, generator=random)
    return Body({**arrays, "weights": weights, "posedirs": correctives}, kind="smplx")


def true_vertices(body: Body, motion: SmplxMotion, frame: int) -> NDArray[np.float64]:
    rotations = axis_angle_to_matrix(
        torch.from_numpy(motion.poses[frame : frame + 1]).unflatten(-1, (JOINT_COUNT, 3))
    )
    with torch.no_grad():
        vertices = body.vertices(
            rotations,
            torch.from_numpy(motion.betas)[None],
            torch.from_numpy(motion.expressions[frame : frame + 1]),
            trans=torch.from_numpy(motion.trans[frame : frame + 1]),
        )
    return vertices[0].numpy()[np.unique(body.faces.numpy())]


@pytest.fixture(scope="module")
def motion() -> SmplxMotion:
    return motion_of_a_tall_person()


@pytest.fixture(scope="module")
def file(motion: SmplxMotion, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("glb") / "a.glb"
    write_glb(path, motion, stand_in_body())
    return path


@pytest.mark.parametrize("frame", [0, 33, 89])
def test_the_drawn_mesh_is_that_of_the_body_model(
    motion: SmplxMotion, file: Path, frame: int
) -> None:
    drawn = Reader(file).vertices(frame)
    np.testing.assert_allclose(drawn, true_vertices(stand_in_body(), motion, frame), atol=1e-3)


def test_the_figure_stands_on_the_floor_in_its_rest_pose(file: Path) -> None:
    reader = Reader(file)
    primitive = reader.json["meshes"][0]["primitives"][0]
    positions = reader.array(primitive["attributes"]["POSITION"])
    assert positions[:, 1].min() == pytest.approx(0, abs=0.03)


def test_errors_of_the_mesh_are_measured_and_stated(motion: SmplxMotion, tmp_path: Path) -> None:
    body = body_with_many_influences()
    write_glb(tmp_path / "a.glb", motion, body)
    reader = Reader(tmp_path / "a.glb")
    stated = reader.json["extras"]["mesh_error_mm"]
    assert stated["four_influences"]["mean"] > 0.1
    assert stated["no_correctives"]["mean"] > 0.1
    frame = len(motion) - 1
    distance = np.linalg.norm(reader.vertices(frame) - true_vertices(body, motion, frame), axis=-1)
    assert 1000 * distance.mean() == pytest.approx(stated["all"]["mean"], rel=0.3)
    assert 1000 * distance.max() <= stated["all"]["max"] * 1.001 + 1e-3


def test_eyes_have_their_own_colours_and_no_face_is_lost(file: Path) -> None:
    reader = Reader(file)
    primitives = reader.json["meshes"][0]["primitives"]
    names = [reader.json["materials"][primitive["material"]]["name"] for primitive in primitives]
    assert names == ["figure", "eye", "pupil"]
    faces = [reader.array(primitive["indices"]).reshape(-1, 3) for primitive in primitives]
    assert sum(map(len, faces)) == len(stand_in_body().faces)
    positions = reader.array(primitives[0]["attributes"]["POSITION"])
    pupils = positions[np.unique(faces[2])]
    # Two of them, in front of the rest of the eyes.
    assert pupils[:, 0].min() < 0 < pupils[:, 0].max()
    assert pupils[:, 2].min() > positions[np.unique(faces[1])][:, 2].mean()


def test_weights_of_a_vertex_add_up_to_one(file: Path) -> None:
    reader = Reader(file)
    primitive = reader.json["meshes"][0]["primitives"][0]
    weights = reader.array(primitive["attributes"]["WEIGHTS_0"])
    np.testing.assert_allclose(weights.sum(axis=1), 1, atol=2e-7)


def test_rotations_never_jump_to_the_opposite_quaternion(file: Path) -> None:
    for (_, path), values in Reader(file).tracks().items():
        if path == "rotation":
            assert ((values[1:] * values[:-1]).sum(axis=1) > 0).all()
            np.testing.assert_allclose(np.linalg.norm(values, axis=1), 1, atol=1e-6)


def test_motion_without_expressions_has_no_morph_targets(
    motion: SmplxMotion, tmp_path: Path
) -> None:
    neutral = SmplxMotion(
        poses=motion.poses, expressions=np.zeros_like(motion.expressions), trans=motion.trans
    )
    write_glb(tmp_path / "a.glb", neutral, stand_in_body())
    (mesh,) = Reader(tmp_path / "a.glb").json["meshes"]
    assert "weights" not in mesh


def test_a_single_frame_is_written(motion: SmplxMotion, tmp_path: Path) -> None:
    write_glb(tmp_path / "a.glb", motion[:1], stand_in_body())
    drawn = Reader(tmp_path / "a.glb").vertices(0)
    np.testing.assert_allclose(drawn, true_vertices(stand_in_body(), motion, 0), atol=1e-3)


def test_khronos_validator_finds_no_errors(motion: SmplxMotion, file: Path, tmp_path: Path) -> None:
    write_vrma(tmp_path / "a.vrma", motion, stand_in_body())
    write_glb(tmp_path / "b.glb", motion[:1], body_with_many_influences())
    for path in (file, tmp_path / "b.glb", tmp_path / "a.vrma"):
        issues = validate_gltf(path)["issues"]
        assert (issues["numErrors"], issues["numWarnings"]) == (0, 0), issues["messages"]


def test_vrm_animation_names_humanoid_bones(motion: SmplxMotion, tmp_path: Path) -> None:
    write_vrma(tmp_path / "a.vrma", motion, stand_in_body())
    document = Reader(tmp_path / "a.vrma").json
    extension = document["extensions"]["VRMC_vrm_animation"]
    assert extension["specVersion"] == "1.0"
    bones = extension["humanoid"]["humanBones"]
    assert len(bones) == 53
    for bone, target in bones.items():
        assert document["nodes"][target["node"]]["name"] == HUMANOID[bone]
    # The format lets only the hips move, and leaves eyes to `lookAt`.
    moved = {node for node, path in Reader(tmp_path / "a.vrma").tracks() if path == "translation"}
    assert moved == {bones["hips"]["node"]}
    animated = {node for node, _ in Reader(tmp_path / "a.vrma").tracks()}
    assert not animated & {JOINTS.index("left_eye"), JOINTS.index("right_eye")}
    assert "meshes" not in document


def test_three_vrm_reads_the_animation(motion: SmplxMotion, tmp_path: Path) -> None:
    write_vrma(tmp_path / "a.vrma", motion, stand_in_body())
    found = read_vrma(tmp_path / "a.vrma")
    assert found["seconds"] == pytest.approx((len(motion) - 1) / 30, abs=1e-4)
    assert sorted(found["bones"]) == sorted(HUMANOID)
    # The height of a standing person's hips, from which an avatar's steps are scaled.
    assert 0.8 < found["hips"][1] < 1.1
