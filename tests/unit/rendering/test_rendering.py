"""Rendering: geometry checked by hand, what pictures show, and videos that play."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from mambatalk.corpus.textgrid import Interval
from mambatalk.errors import InputError
from mambatalk.motion.clip import SmplxMotion
from mambatalk.rendering.background import GRID, Ground, draw_shadow
from mambatalk.rendering.bands import CURSOR, Captions, WaveformBand
from mambatalk.rendering.camera import Camera, figure_camera, follow
from mambatalk.rendering.comparison import LABELS, render_preview, render_still, render_video
from mambatalk.rendering.figure import Surface, palette
from mambatalk.rendering.panel import Panel
from mambatalk.rendering.rasteriser import rasterise
from mambatalk.rendering.scene import Scene
from mambatalk.rendering.video import open_video
from tests.helpers.motions import clicks, smooth_motion
from tests.helpers.stand_in_body import stand_in_body

ORIGIN = np.zeros(3, np.float32)


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
    camera = Camera(np.array([0, 1, 5], np.float32), 0.0, focal=300.0, width=400, height=200)
    pixels, inverse_depth = camera.project(np.array([[0, 1, 0], [1, 1, 0], [0, 2, 0]], np.float32))
    np.testing.assert_allclose(
        pixels,
        [[200, 100], [200 + camera.focal / 5, 100], [200, 100 - camera.focal / 5]],
        rtol=1e-5,
    )
    np.testing.assert_allclose(inverse_depth, 0.2)


def test_a_ray_through_a_pixel_hits_the_point_drawn_there() -> None:
    camera = figure_camera(1.8, width=90, height=60)
    point = np.array([[0.3, 0.2, -0.4]], np.float32)
    pixel = camera.project(point)[0][0]
    ray = camera.rays()[int(pixel[1]), int(pixel[0])]
    towards = (point[0] - camera.position) / np.linalg.norm(point[0] - camera.position)
    assert float(towards @ ray / np.linalg.norm(ray)) > 0.9999


@pytest.mark.parametrize("stature", [1.2, 1.7, 2.1])
def test_a_standing_figure_fills_two_thirds_of_the_picture(stature: float) -> None:
    camera = figure_camera(stature, width=300, height=480)
    pixels, _ = camera.project(np.array([[0, 0, 0], [0, stature, 0]], np.float32))
    feet, head = pixels[:, 1]
    assert (feet - head) / 480 == pytest.approx(2 / 3, abs=0.02)
    assert head > 60
    assert feet < 420


def test_a_camera_stands_still_while_a_figure_sways() -> None:
    seconds = np.arange(300) / 30
    sway = np.stack([0.05 * np.sin(seconds), 0 * seconds, 0 * seconds], axis=1).astype(np.float32)
    places = follow(sway, slack=0.1, smoothing=0.5)
    assert np.ptp(places, axis=0).max() == 0


def test_a_camera_follows_a_walk_closely_and_smoothly() -> None:
    """A figure walks 3 m, stops, walks back, and its pelvis bobs with every step."""
    seconds = np.arange(600) / 30
    walked = np.interp(seconds, [2, 5, 12, 15], [0, 3, 3, 0])
    bob = 0.03 * np.sin(2 * np.pi * 1.8 * seconds)
    path = np.stack([walked + bob, 1 + bob, 0.5 * walked], axis=1).astype(np.float32)
    places = follow(path, slack=0.1, smoothing=0.5)
    assert np.abs(places - path).max() < 0.35, "nearly in the middle, also where it turns"
    acceleration = np.diff(places, n=2, axis=0) * 30**2
    assert np.abs(acceleration).max() < 1.5, "m/s^2; bobbing alone has 3.8"


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
    camera = figure_camera(1.8, width=120, height=90)
    background = Ground(camera).at(ORIGIN).astype(int)
    assert np.ptp(background[2], axis=0).max() == 0, "one colour along the top"
    assert np.ptp(background[-3], axis=0).max() > 5, "lines along the bottom"


def test_the_grid_passes_below_a_camera_that_moves() -> None:
    ground = Ground(figure_camera(1.8, width=120, height=90))
    start = ground.at(ORIGIN)
    assert (ground.at(np.array([0.2, 0, 0], np.float32)) != start).any()
    one_cell_on = ground.at(np.array([GRID, 0, GRID], np.float32)).astype(int)
    assert np.abs(one_cell_on - start).max() <= 2


def _walking(steps: np.ndarray, *, lift: float = 0.0) -> SmplxMotion:
    """Return a standing figure whose translation follows the given steps (frames, 3)."""
    still = smooth_motion(0, len(steps))
    trans = np.asarray(steps + [0, 1.3 + lift, 0], np.float32)
    return replace(still, poses=np.zeros_like(still.poses), trans=trans)


def _panel(motion: SmplxMotion, *, floor: float, width: int | None = None) -> Panel:
    scene = Scene(motion, stand_in_body())
    return Panel(
        scene,
        colour=(200, 40, 40),
        floor=floor,
        stature=scene.stature(),
        height=180,
        width=width,
    )


def _red(picture: np.ndarray) -> np.ndarray:
    return picture[..., 0].astype(int) - picture[..., 2] > 20


def test_a_figure_stays_in_the_picture_at_one_size_wherever_it_walks() -> None:
    steps = np.linspace([0, 0, 0], [6, 0, -9], 240)
    motion = _walking(steps)
    panel = _panel(motion, floor=Scene(motion, stand_in_body()).floor())
    for picture in panel.pictures(np.array([0, 120, 239])):
        body = _red(picture[:, : panel.body_width])
        rows = np.flatnonzero(body.any(axis=1))
        assert len(rows) / 180 == pytest.approx(2 / 3, abs=0.04)
        head = np.flatnonzero(body[rows[0] : rows[0] + 10].any(axis=0))
        assert abs(head.mean() - panel.body_width / 2) < 0.07 * panel.body_width


def test_the_floor_hides_what_is_below_it() -> None:
    standing, sunk = (_walking(np.zeros((2, 3)), lift=lift) for lift in (0.0, -0.4))
    floor = Scene(standing, stand_in_body()).floor()
    lowest, shown = [], []
    for motion in (standing, sunk):
        panel = _panel(motion, floor=floor)
        (picture,) = panel.pictures(np.array([0]))
        body = _red(picture[:, : panel.body_width])
        lowest.append(np.flatnonzero(body.any(axis=1))[-1])
        shown.append(body.any(axis=1).sum())
    assert abs(lowest[0] - lowest[1]) < 5
    assert shown[1] < 0.85 * shown[0]


def test_a_close_up_shows_face_and_each_hand_in_the_middle() -> None:
    motion = smooth_motion(0, 40)
    panel = _panel(motion, floor=0.0)
    (picture,) = panel.pictures(np.array([20]))
    tiles = np.array_split(picture[:, panel.body_width + panel.gap :], 3)
    for tile in tiles:
        middle = tile[len(tile) // 3 : -len(tile) // 3, tile.shape[1] // 3 : -tile.shape[1] // 3]
        assert _red(middle).mean() > 0.25


def test_a_wide_picture_has_a_larger_face_above_both_hands() -> None:
    panel = _panel(smooth_motion(0, 40), floor=0.0, width=400)
    (picture,) = panel.pictures(np.array([20]))
    assert picture.shape == (180, 400, 3)
    close_ups = _red(picture[:, panel.body_width + panel.gap :])
    width = close_ups.shape[1]
    face, hands = close_ups[:width], close_ups[width + panel.gap :]
    for tile in (face, hands[:, : width // 2], hands[:, width // 2 :]):
        height, across = tile.shape
        middle = tile[height // 3 : -height // 3, across // 3 : -across // 3]
        assert middle.mean() > 0.25


def test_the_close_up_of_a_hand_shows_fingers_that_bend() -> None:
    def hand(angle: float) -> np.ndarray:
        motion = _walking(np.zeros((1, 3)))
        poses = motion.poses.copy()
        for joint in range(40, 55):
            poses[:, 3 * joint + 2] = angle
        panel = _panel(replace(motion, poses=poses), floor=0.0)
        (picture,) = panel.pictures(np.array([0]))
        return _red(np.array_split(picture[:, panel.body_width + panel.gap :], 3)[1])

    assert (hand(0.0) != hand(1.0)).sum() > 50


def test_eyes_show_where_they_look() -> None:
    scene = Scene(_walking(np.zeros((1, 3))), stand_in_body())
    gaze = scene.gaze()
    eyes = np.isfinite(gaze)
    assert 0 < eyes.sum() < 0.05 * len(gaze)
    assert gaze[eyes].max() > 0.95
    assert gaze[eyes].min() < -0.95


def test_a_hand_far_above_the_floor_leaves_no_mark_on_it() -> None:
    """Hands have many small faces; a shadow that counted vertices would be a stray mark."""
    scene = Scene(_walking(np.zeros((1, 3))), stand_in_body())
    camera = figure_camera(scene.stature(), width=120, height=180)
    (vertices,) = scene.vertices(np.array([0]))
    vertices = vertices - np.array([0, scene.floor(), 0], np.float32)
    areas = scene.surface.areas(scene.rest_vertices())
    plain = Ground(camera).at(ORIGIN)

    hand = scene.part(["left_wrist", "left_index1", "left_middle1", "left_thumb1"]).vertices
    foot = scene.part(["left_foot", "left_ankle"]).vertices
    for vertex, most in ((hand, 2), (foot, 255)):
        picture = plain.copy()
        draw_shadow(picture, vertices[vertex], areas[vertex], camera)
        darker = np.abs(picture.astype(int) - plain).max()
        assert darker <= most
    assert darker > 20, "below a foot there is a shadow"


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


def _captions(text: str, *, width: int = 300, seconds: float = 0.3) -> Captions:
    """Return captions of words that take 0.3 s each, one after another."""
    words = [
        Interval(seconds * k, seconds * (k + 1), word) for k, word in enumerate(text.split(" "))
    ]
    return Captions(words, width=width, height=24)


def test_a_caption_shows_the_line_and_colours_the_current_word() -> None:
    captions = _captions("we walk home")
    coloured = []
    for seconds in (0.1, 0.4, 0.7):
        picture = captions.at(seconds).astype(int)
        assert (picture.min(axis=2) < 160).any(), "letters"
        red = (picture[..., 0] - picture[..., 2] > 60).any(axis=0).nonzero()[0]
        coloured.append(red.mean())
    assert coloured == sorted(coloured), "from left to right"


def test_a_caption_goes_away_in_a_pause_and_comes_with_its_words() -> None:
    captions = Captions(
        [Interval(1, 1.3, "one"), Interval(1.3, 5, ""), Interval(5, 5.5, "two")],
        width=300,
        height=24,
    )
    shown = [(captions.at(time) != captions.at(0)).any() for time in (0.9, 1.1, 2.0, 2.5, 4.9, 5.1)]
    assert shown == [False, True, True, False, False, True]


@pytest.mark.parametrize("text", ["the cat sat on the mat and slept for hours " * 3, "W" * 300])
def test_a_caption_stays_within_the_picture(text: str) -> None:
    captions = _captions(text.strip(), width=200)
    for seconds in np.arange(0, 0.3 * len(text.split()), 0.3) + 0.1:
        letters = (captions.at(seconds).min(axis=2) < 200).any(axis=0)
        assert letters.any()
        assert not letters[:2].any()
        assert not letters[-2:].any()


def test_a_video_with_words_has_the_size_of_one_without(tmp_path: Path) -> None:
    words = [Interval(0, 0.2, "hello"), Interval(0.2, 0.5, "world")]
    _render(tmp_path / "words.mp4", generated=smooth_motion(0, 10), words=words)
    picture = _pictures(tmp_path / "words.mp4")[2]
    assert picture.shape == (120, 214, 3)
    assert (picture[104:110, 60:150].min(axis=2) < 170).any(), "letters under the figures"


def _render(
    out: Path,
    *,
    generated: SmplxMotion,
    seconds: float = 1.0,
    words: Sequence[Interval] = (),
) -> None:
    render_video(
        out,
        generated=generated,
        truth=smooth_motion(1, 80),
        body=stand_in_body(),
        waveform=clicks(60),
        seconds=seconds,
        height=120,
        words=words,
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
        assert (picture.width, picture.height) == (214, 120)
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
    for half in (slice(0, 72), slice(108, 180)):
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


def test_a_still_shows_four_moments_of_both_motions_with_their_times(tmp_path: Path) -> None:
    out = tmp_path / "still.png"
    motions = {"generated": smooth_motion(0, 60), "truth": smooth_motion(1, 60)}
    render_still(out, **motions, body=stand_in_body(), seconds=2.0, size=180)
    picture = np.asarray(Image.open(out)).astype(int)
    height, width = picture.shape[:2]
    column = width / 4
    for row, (_, colour) in enumerate(LABELS):
        warm = colour[0] > colour[2]
        part = picture[row * height // 2 + 20 : (row + 1) * height // 2 - 5]
        tint = part[..., 0] - part[..., 2]
        figure = tint > 12 if warm else tint < -25
        for k in range(4):
            first = round(k * column)
            assert figure[:, first : first + 120].sum() > 300
            time = part[: len(part) // 6, first : first + 50]
            assert (time.max(axis=2) < 90).sum() > 20, "dark letters in the corner"


def test_a_preview_is_a_small_animation_that_repeats(tmp_path: Path) -> None:
    for name in ("one", "two"):
        render_preview(
            tmp_path / f"{name}.webp",
            generated=smooth_motion(0, 60),
            truth=smooth_motion(1, 80),
            body=stand_in_body(),
            waveform=clicks(60),
        )
    written = (tmp_path / "one.webp").read_bytes()
    assert written == (tmp_path / "two.webp").read_bytes()
    assert len(written) < 1_000_000
    with Image.open(tmp_path / "one.webp") as animation:
        assert animation.n_frames == 30
        assert animation.info["loop"] == 0
        durations = []
        for k in range(animation.n_frames):
            animation.seek(k)
            animation.load()
            durations.append(animation.info["duration"])
    assert sum(durations) == pytest.approx(2000, abs=50), "milliseconds: real time"
