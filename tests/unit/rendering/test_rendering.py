"""Rendering: geometry checked by hand, what pictures show, and videos that play."""

from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from mambatalk.errors import InputError
from mambatalk.motion.clip import SmplxMotion
from mambatalk.rendering.background import draw_background
from mambatalk.rendering.bands import CURSOR, WaveformBand
from mambatalk.rendering.camera import Camera, frame_figure
from mambatalk.rendering.comparison import LABELS, render_still, render_video
from mambatalk.rendering.figure import Surface, palette
from mambatalk.rendering.rasteriser import rasterise
from mambatalk.rendering.scene import Scene, shared_camera
from mambatalk.rendering.video import open_video
from tests.helpers.motions import clicks, smooth_motion
from tests.helpers.stand_in_body import stand_in_body


def _square(low: float, high: float) -> tuple[np.ndarray, np.ndarray]:
    """Return a square's corners in pixels and its two triangles, counter-clockwise (y down)."""
    corners = np.array([[low, low], [high, low], [high, high], [low, high]], np.float32)
    return corners, np.array([[0, 2, 1], [0, 3, 2]])


def test_a_square_covers_each_of_its_pixels_once() -> None:
    corners, faces = _square(2, 6)
    fragments = rasterise(corners, np.ones(4, np.float32), faces, width=10, height=8)
    assert set(fragments.pixels) == {10 * y + x for y in range(2, 6) for x in range(2, 6)}
    np.testing.assert_allclose(fragments.weights.sum(1), 1, atol=1e-6)


def test_values_are_interpolated_between_vertices() -> None:
    corners, faces = _square(0, 8)
    fragments = rasterise(corners, np.ones(4, np.float32), faces, width=8, height=8)
    np.testing.assert_allclose(
        fragments.interpolate(corners[:, 0]), fragments.pixels % 8 + 0.5, atol=1e-4
    )
    np.testing.assert_allclose(
        fragments.interpolate(corners[:, 1]), fragments.pixels // 8 + 0.5, atol=1e-4
    )


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_the_nearer_square_hides_the_farther_one(order: tuple[int, int]) -> None:
    (near, faces), (far, _) = _square(0, 8), _square(0, 8)
    squares = [(near, 2.0), (far, 1.0)]
    points = np.concatenate([squares[k][0] for k in order])
    inverse_depth = np.repeat([squares[k][1] for k in order], 4).astype(np.float32)
    fragments = rasterise(
        points, inverse_depth, np.concatenate([faces, faces + 4]), width=8, height=8
    )
    assert len(fragments.pixels) == 64
    np.testing.assert_allclose(fragments.interpolate(inverse_depth), 2.0, atol=1e-5)


def test_back_faces_and_faces_outside_the_picture_are_left_out() -> None:
    corners, faces = _square(2, 6)
    assert not len(
        rasterise(corners, np.ones(4, np.float32), faces[:, ::-1], width=10, height=8).pixels
    )
    assert not len(
        rasterise(corners + 100, np.ones(4, np.float32), faces, width=10, height=8).pixels
    )
    half = rasterise(corners - 4, np.ones(4, np.float32), faces, width=10, height=8)
    assert set(half.pixels) == {10 * y + x for y in range(2) for x in range(2)}


def test_projection_agrees_with_the_formula() -> None:
    camera = Camera(np.array([0, 1, 5], np.float32), 0.0, 400, 200)
    pixels, inverse_depth = camera.project(np.array([[0, 1, 0], [1, 1, 0], [0, 2, 0]], np.float32))
    np.testing.assert_allclose(
        pixels,
        [[200, 100], [200 + camera.focal / 5, 100], [200, 100 - camera.focal / 5]],
        rtol=1e-5,
    )
    np.testing.assert_allclose(inverse_depth, 0.2)


def test_a_ray_through_a_pixel_hits_the_point_drawn_there() -> None:
    camera = frame_figure(
        np.array([-1, 0, -0.3], np.float32),
        np.array([1, 1.8, 0.3], np.float32),
        width=90,
        height=60,
    )
    point = np.array([[0.3, 0.2, -0.4]], np.float32)
    pixel = camera.project(point)[0][0]
    ray = camera.rays()[int(pixel[1]), int(pixel[0])]
    towards = (point[0] - camera.position) / np.linalg.norm(point[0] - camera.position)
    assert float(towards @ ray / np.linalg.norm(ray)) > 0.9999


@pytest.mark.parametrize("size", [(300, 480), (480, 480), (800, 300)])
def test_the_whole_box_is_in_the_picture(size: tuple[int, int]) -> None:
    low, high = np.array([-0.9, -1.3, -0.4], np.float32), np.array([0.9, 0.6, 0.5], np.float32)
    width, height = size
    camera = frame_figure(low, high, width=width, height=height)
    corners = np.array(
        [[(low, high)[(k >> axis) & 1][axis] for axis in range(3)] for k in range(8)]
    )
    pixels, _ = camera.project(corners.astype(np.float32))
    assert (pixels >= 0).all()
    assert (pixels <= [width, height]).all()


def test_normals_of_the_body_point_outwards() -> None:
    body = stand_in_body()
    surface = Surface(body.faces.numpy(), body.vertex_count)
    normals = surface.normals(body.v_template.numpy())
    head = np.unique(surface.faces[(body.v_template[body.faces[:, 0], 1] > 0.25).numpy()])
    outward = body.v_template.numpy()[head] - body.joint_template[15].numpy() - [0, 0.09, 0]
    assert ((normals[head] * outward).sum(1) > 0).mean() > 0.9


def test_a_palette_goes_from_shadow_to_highlight() -> None:
    shades = palette((84, 132, 196)).astype(int).sum(1)
    assert (np.diff(shades) >= 0).all()
    assert shades[-1] > 2 * shades[0]


def test_the_backdrop_is_plain_and_the_floor_has_a_grid() -> None:
    camera = frame_figure(
        np.array([-1, 0, -1], np.float32), np.array([1, 1.8, 1], np.float32), width=120, height=90
    )
    background = draw_background(camera, 0.0).astype(int)
    assert np.ptp(background[2], axis=0).max() == 0, "one colour along the top"
    assert np.ptp(background[-3], axis=0).max() > 5, "lines along the bottom"


def test_the_whole_figure_is_in_the_picture() -> None:
    motion = smooth_motion(0, 40)
    scene = Scene(motion, stand_in_body())
    floor = scene.floor()
    box = scene.box()
    camera = shared_camera([box], floor, width=150, height=180)
    (picture,) = scene.pictures(
        np.array([20]), centre=box.centre, camera=camera, floor=floor, colour=(200, 40, 40)
    )
    red = picture[..., 0].astype(int) - picture[..., 2] > 20
    rows, columns = np.flatnonzero(red.any(1)), np.flatnonzero(red.any(0))
    assert picture.shape == (180, 150, 3)
    assert rows[0] > 1
    assert rows[-1] < 178
    assert columns[0] > 1
    assert columns[-1] < 148
    assert len(rows) > 0.5 * 180, "large enough to see"


def test_the_cursor_follows_the_audio_and_bars_follow_its_loudness() -> None:
    wave = np.zeros(16_000, np.float32)
    wave[8_000:12_000] = 0.5
    band = WaveformBand(wave, width=200, height=40, seconds=1.0)
    for share in (0.0, 0.25, 0.9):
        column = (band.at(share) == CURSOR).all(2).all(0).nonzero()[0]
        assert abs(column.mean() - share * 199) < 2
    dark = (band.at(1.0)[3:5, :] != band.at(1.0)[0, 190]).any(2).any(0)
    assert dark[110:140].all()
    assert not dark[160:190].any()


def _render(out: Path, *, generated: SmplxMotion, seconds: float = 1.0) -> None:
    render_video(
        out,
        generated=generated,
        truth=smooth_motion(1, 80),
        body=stand_in_body(),
        waveform=clicks(60),
        seconds=seconds,
        size=96,
    )


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("video") / "clip.mp4"
    _render(out, generated=smooth_motion(0, 60))
    return out


def _pictures(path: Path) -> list[np.ndarray]:
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def test_a_video_has_the_codecs_that_browsers_play(video: Path) -> None:
    with av.open(str(video)) as container:
        picture, sound = container.streams.video[0], container.streams.audio[0]
        assert picture.codec_context.name == "h264"
        assert picture.codec_context.pix_fmt == "yuv420p"
        assert (picture.width, picture.height) == (160, 120)
        assert picture.average_rate == 30
        assert sound.codec_context.name == "aac"
        assert container.duration / av.time_base == pytest.approx(1.0, abs=0.1)


def test_audio_is_as_long_as_the_pictures(video: Path) -> None:
    with av.open(str(video)) as container:
        samples = sum(frame.samples for frame in container.decode(audio=0))
    assert samples == pytest.approx(16_000, abs=2048)


def test_figures_move_in_a_video(video: Path) -> None:
    pictures = [picture.astype(int) for picture in _pictures(video)]
    assert len(pictures) == 30
    figures = slice(12, 104)
    for half in (slice(0, 80), slice(80, 160)):
        change = np.abs(pictures[0][figures, half] - pictures[-1][figures, half])
        assert change.max() > 40


def test_the_same_motion_gives_the_same_video(video: Path, tmp_path: Path) -> None:
    _render(tmp_path / "again.mp4", generated=smooth_motion(0, 60))
    assert (tmp_path / "again.mp4").read_bytes() == video.read_bytes()


def test_a_video_ends_with_the_shorter_motion(tmp_path: Path) -> None:
    _render(tmp_path / "short.mp4", generated=smooth_motion(0, 10))
    assert len(_pictures(tmp_path / "short.mp4")) == 10


def test_a_motion_without_frames_leaves_no_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no frame to draw"):
        _render(tmp_path / "none.mp4", generated=smooth_motion(0)[:0])
    assert not list(tmp_path.iterdir())


def _one_picture(out: Path, *, width: int, picture: np.ndarray) -> None:
    waveform = np.zeros(16_000, np.float32)
    with open_video(out, width=width, height=48, waveform=waveform) as add_picture:
        add_picture(picture)


def test_an_error_while_drawing_leaves_no_file(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="ndim"):
        _one_picture(tmp_path / "v.mp4", width=64, picture=np.zeros((48, 64), np.uint8))
    assert not list(tmp_path.iterdir())


def test_a_size_that_cannot_be_encoded_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="encoding fails"):
        _one_picture(tmp_path / "v.mp4", width=65, picture=np.zeros((48, 65, 3), np.uint8))
    assert not list(tmp_path.iterdir())


def test_a_still_shows_six_moments_of_both_motions(tmp_path: Path) -> None:
    out = tmp_path / "still.png"
    render_still(
        out,
        generated=smooth_motion(0, 60),
        truth=smooth_motion(1, 60),
        body=stand_in_body(),
        seconds=2.0,
        size=100,
    )
    picture = np.asarray(Image.open(out)).astype(int)
    height, width = picture.shape[:2]
    assert width == 6 * 84
    for row, (_, colour) in enumerate(LABELS):
        warm = colour[0] > colour[2]
        part = picture[row * height // 2 + 20 : (row + 1) * height // 2 - 5]
        tint = part[..., 0] - part[..., 2]
        figure = tint > 12 if warm else tint < -25
        assert all(figure[:, 84 * k : 84 * (k + 1)].sum() > 150 for k in range(6))
