"""The FGD encoder, its decoder, and the graph of bones."""

from pathlib import Path

import pytest
import torch

from mambatalk.errors import InputError
from mambatalk.models.fgd.network import PUBLISHED_SHA256, FGDDecoder, FGDEncoder
from mambatalk.models.fgd.skeleton_graph import bones_of, neighbours, pool
from mambatalk.models.fgd.storage import load_fgd_encoder, save_fgd_encoder
from mambatalk.motion.skeleton import PARENTS, POSE_DIM


def test_bones_are_pooled_along_chains_to_35_and_20() -> None:
    bones = bones_of(PARENTS)
    assert len(bones) == 55
    once, groups = pool(bones)
    assert groups[:4] == [(0,), (1, 4), (7, 10), (2, 5)]
    assert sorted(bone for group in groups for bone in group) == list(range(55))
    twice, _ = pool(once)
    assert (len(once), len(twice), len(pool(twice)[0])) == (35, 20, 20)


def test_neighbours_are_two_joints_apart_at_most() -> None:
    near = neighbours(bones_of(PARENTS))
    assert near.diagonal().all()
    assert (near == near.T).all()
    assert near[20].nonzero()[0].tolist() == [16, 18, 20, 25, 26, 28, 29, 31, 32, 34, 35, 37, 38]


@pytest.mark.parametrize("latent", [60, 240])
def test_features_have_a_sixteenth_of_the_frames_and_decode_back(latent: int) -> None:
    encoder, decoder = FGDEncoder(latent), FGDDecoder(latent)
    features = encoder(torch.randn(2, 64, POSE_DIM))
    assert features.shape == (2, 4, latent)
    assert features.abs().max() < 1
    assert decoder(features).shape == (2, 64, POSE_DIM)


def test_convolutions_mix_neighbouring_bones_only() -> None:
    torch.manual_seed(0)
    pose = torch.randn(1, 64, POSE_DIM, requires_grad=True)
    block = FGDEncoder(240).blocks[0]
    # Before the group norm, which mixes all channels of a group.
    left_foot = block.residual(pose.transpose(1, 2))[:, 60:66].sum()  # type: ignore[operator]
    (gradient,) = torch.autograd.grad(left_foot, pose)
    left_ankle, fingers = slice(6 * 7, 6 * 8), slice(6 * 40, None)
    assert gradient[..., left_ankle].abs().sum() > 0
    assert gradient[..., fingers].abs().sum() == 0


def test_initial_weights_keep_the_scale_of_their_input() -> None:
    """Counting masked inputs would divide the scale by about 2 in every layer."""
    torch.manual_seed(0)
    block = FGDEncoder(240).blocks[0]
    x = torch.randn(8, POSE_DIM, 64)
    with torch.no_grad():
        scale = block.shortcut(x).std() / x.std()  # type: ignore[operator]
    assert 0.7 < float(scale) < 1.4


def test_latent_size_must_be_a_multiple_of_the_pooled_bones() -> None:
    with pytest.raises(InputError, match=r"expected a multiple of 20 .*, found 50"):
        FGDEncoder(50)


def test_stored_encoder_is_read_back_whole(tmp_path: Path) -> None:
    encoder = FGDEncoder(20)
    save_fgd_encoder(tmp_path, encoder)
    loaded = load_fgd_encoder(tmp_path)
    pose = torch.randn(1, 32, POSE_DIM)
    assert loaded.latent == 20
    assert torch.equal(loaded(pose), encoder.eval()(pose))


@pytest.mark.parametrize(
    ("source", "origin"),
    [(None, "home-made"), (PUBLISHED_SHA256, "published"), ("0" * 64, "unknown")],
)
def test_the_origin_is_known_by_digest_and_kept_with_the_weights(
    tmp_path: Path, source: str | None, origin: str
) -> None:
    save_fgd_encoder(tmp_path, FGDEncoder(240, source=source))
    loaded = load_fgd_encoder(tmp_path)
    assert (loaded.source, loaded.origin) == (source, origin)
