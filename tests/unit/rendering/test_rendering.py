"""Rendering: geometry that can be computed by hand, pictures that show what they should, films that
play.
"""

import re
import subprocess

import numpy as np
import pytest
from PIL import Image

from mambatalk.errors import InputError
from mambatalk.rendering.camera import Camera, frame_figure
from mambatalk.rendering.comparison import LABELS, render_comparison, render_still
from mambatalk.rendering.figure import Surface, palette
from mambatalk.rendering.rasteriser import rasterise
from mambatalk.rendering.scene import Scene, shared_camera
from mambatalk.rendering.strip import CURSOR, Waveform
from mambatalk.rendering.studio import empty_studio
from tests.helpers.motions import clicks, smooth_motion
from tests.helpers.stand_in_body import stand_in_body


def _square(low: float, high: float) -> tuple[np.ndarray, np.ndarray]:
    """Corners of a square in pixels and its two triangles, counter-clockwise as seen (y
    downwards).
    """
    corners = np.array([[low, low], [high, low], [high, high], [low, high]], np.float32)
    return corners, np.array([[0, 2, 1], [0, 3, 2]])


def test_a_square_covers_its_pixels_once():
    corners, faces = _square(2, 6)
    hits = rasterise(corners, np.ones(4, np.float32), faces, width=10, height=8)
    assert set(hits.pixels) == {10 * y + x for y in range(2, 6) for x in range(2, 6)}
    np.testing.assert_allclose(hits.weights.sum(1), 1, atol=1e-6)


def test_values_are_interpolated():
    corners, faces = _square(0, 8)
    hits = rasterise(corners, np.ones(4, np.float32), faces, width=8, height=8)
    np.testing.assert_allclose(hits.interpolate(corners[:, 0]), hits.pixels % 8 + 0.5, atol=1e-4)
    np.testing.assert_allclose(hits.interpolate(corners[:, 1]), hits.pixels // 8 + 0.5, atol=1e-4)


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_the_nearer_square_hides_the_farther(order):
    (near, faces), (far, _) = _square(0, 8), _square(0, 8)
    squares = [(near, 2.0), (far, 1.0)]
    points = np.concatenate([squares[k][0] for k in order])
    nearness = np.repeat([squares[k][1] for k in order], 4).astype(np.float32)
    hits = rasterise(points, nearness, np.concatenate([faces, faces + 4]), width=8, height=8)
    assert len(hits.pixels) == 64
    np.testing.assert_allclose(hits.interpolate(nearness), 2.0, atol=1e-5)


def test_back_faces_and_what_lies_outside_are_left_out():
    corners, faces = _square(2, 6)
    assert not len(
        rasterise(corners, np.ones(4, np.float32), faces[:, ::-1], width=10, height=8).pixels
    )
    assert not len(
        rasterise(corners + 100, np.ones(4, np.float32), faces, width=10, height=8).pixels
    )
    half = rasterise(corners - 4, np.ones(4, np.float32), faces, width=10, height=8)
    assert set(half.pixels) == {10 * y + x for y in range(2) for x in range(2)}


def test_the_camera_projects_by_hand():
    camera = Camera(np.array([0, 1, 5], np.float32), 0.0, 400, 200)
    pixels, nearness = camera.project(np.array([[0, 1, 0], [1, 1, 0], [0, 2, 0]], np.float32))
    np.testing.assert_allclose(
        pixels,
        [[200, 100], [200 + camera.focal / 5, 100], [200, 100 - camera.focal / 5]],
        rtol=1e-5,
    )
    np.testing.assert_allclose(nearness, 0.2)


def test_a_ray_through_a_pixel_meets_the_point_seen_there():
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
def test_the_frame_holds_the_whole_box(size):
    low, high = np.array([-0.9, -1.3, -0.4], np.float32), np.array([0.9, 0.6, 0.5], np.float32)
    width, height = size
    camera = frame_figure(low, high, width=width, height=height)
    corners = np.array(
        [[(low, high)[(k >> axis) & 1][axis] for axis in range(3)] for k in range(8)]
    )
    pixels, _ = camera.project(corners.astype(np.float32))
    assert (pixels >= 0).all()
    assert (pixels <= [width, height]).all()


def test_normals_of_the_body_point_outwards():
    body = stand_in_body()
    surface = Surface(body.faces.numpy(), body.vertex_count)
    normals = surface.normals(body.v_template.numpy())
    head = np.unique(surface.faces[(body.v_template[body.faces[:, 0], 1] > 0.25).numpy()])
    outward = body.v_template.numpy()[head] - body.joint_template[15].numpy() - [0, 0.09, 0]
    assert ((normals[head] * outward).sum(1) > 0).mean() > 0.9


def test_a_palette_runs_from_shadow_to_light():
    shades = palette((84, 132, 196)).astype(int).sum(1)
    assert (np.diff(shades) >= 0).all()
    assert shades[-1] > 2 * shades[0]


def test_the_floor_is_below_the_horizon_and_has_a_grid():
    camera = frame_figure(
        np.array([-1, 0, -1], np.float32), np.array([1, 1.8, 1], np.float32), width=120, height=90
    )
    room = empty_studio(camera, 0.0).astype(int)
    assert np.ptp(room[2], axis=0).max() == 0, "one colour along the top"
    assert np.ptp(room[-3], axis=0).max() > 5, "lines along the bottom"


def test_the_whole_figure_is_in_the_picture_and_stands_on_the_floor():
    motion = smooth_motion(0, 40)
    scene = Scene(motion, stand_in_body())
    floor, box = scene.floor(), scene.box()
    camera = shared_camera([box], floor, width=150, height=180)
    (picture,) = scene.shots(
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


def test_the_cursor_moves_and_sound_is_where_it_is_loud():
    wave = np.zeros(16_000, np.float32)
    wave[8_000:12_000] = 0.5
    strip = Waveform(wave, width=200, height=40, seconds=1.0)
    for share in (0.0, 0.25, 0.9):
        column = (strip.at(share) == CURSOR).all(2).all(0).nonzero()[0]
        assert abs(column.mean() - share * 199) < 2
    dark = (strip.at(1.0)[3:5, :] != strip.at(1.0)[0, 190]).any(2).any(0)
    assert dark[110:140].all()
    assert not dark[160:190].any()


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    out = tmp_path_factory.mktemp("film") / "clip.mp4"
    _render(out, generated=smooth_motion(0, 60))
    return out


def _render(out, *, generated, seconds=1.0):
    render_comparison(
        out,
        generated=generated,
        truth=smooth_motion(1, 80),
        body=stand_in_body(),
        wave=clicks(60),
        seconds=seconds,
        size=96,
    )


def _ffmpeg(*arguments):
    import imageio_ffmpeg

    return subprocess.run(
        [imageio_ffmpeg.get_ffmpeg_exe(), *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_film_has_picture_and_sound_that_every_browser_plays(film):
    about = _ffmpeg("-i", film).stderr
    assert re.search(r"Video: h264.*yuv420p.*\b160x120\b.*30 fps", about)
    assert "Audio: aac" in about
    hours, minutes, seconds = re.search(r"Duration: (\d+):(\d+):([\d.]+)", about).groups()
    assert (int(hours), int(minutes)) == (0, 0)
    assert float(seconds) == pytest.approx(1.0, abs=0.1)
    assert _ffmpeg("-v", "error", "-i", film, "-f", "null", "-").stderr == "", "every frame decodes"


def test_the_film_moves(film, tmp_path):
    assert _ffmpeg("-v", "error", "-i", film, "-r", "30", tmp_path / "%02d.png").returncode == 0
    frames = [np.asarray(Image.open(path)).astype(int) for path in sorted(tmp_path.glob("*.png"))]
    assert len(frames) == 30
    figures = slice(12, 104)
    for half in (slice(0, 80), slice(80, 160)):
        assert np.abs(frames[0][figures, half] - frames[-1][figures, half]).max() > 40


def test_the_same_film_twice(film, tmp_path):
    _render(tmp_path / "again.mp4", generated=smooth_motion(0, 60))
    assert (tmp_path / "again.mp4").read_bytes() == film.read_bytes()


def test_the_shorter_motion_ends_the_film(tmp_path):
    _render(tmp_path / "short.mp4", generated=smooth_motion(0, 10))
    about = _ffmpeg("-i", tmp_path / "short.mp4").stderr
    assert float(re.search(r"Duration: 00:00:([\d.]+)", about).group(1)) == pytest.approx(
        0.33, abs=0.1
    )


def test_a_motion_without_frames_leaves_no_file(tmp_path):
    empty = smooth_motion(0)[:0]
    with pytest.raises(InputError, match="no frame to draw"):
        _render(tmp_path / "none.mp4", generated=empty)
    assert not list(tmp_path.iterdir())


def test_a_still_shows_six_moments_of_both(tmp_path):
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
        seen = tint > 12 if warm else tint < -25
        assert all(seen[:, 84 * k : 84 * (k + 1)].sum() > 150 for k in range(6))
