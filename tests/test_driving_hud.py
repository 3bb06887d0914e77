"""The display over a drive, on made-up scenes: what is shown where, and what is not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from drive_scenes import lanes_of, observations, picture, regions, scene, view_of, without_view

from rtseg.compositor import Compositor
from rtseg.driving.ground import horizon, project
from rtseg.driving.hud import Hud, Pace
from rtseg.driving.inset import Inset
from rtseg.driving.state import Event, Measure, Scene, View
from rtseg.driving.theme import THEMES
from rtseg.errors import ConfigError
from rtseg.ops.arrays import U8
from rtseg.types import Instances, Layer, Observation, Regions, Size, Solid

HD = Size(1280, 720)
NOTHING = dict.fromkeys(
    ("carpet", "lines", "masks", "boxes", "plates", "horizon", "inset", "banner", "clock", "speed", "offset"), False
)


def layers_of(shown: Scene, size: Size = HD, **options: bool) -> list[Layer]:
    made = Hud(**{**NOTHING, **options})(picture(size, scene(size)), regions(size, shown), observations(shown))  # type: ignore[arg-type]
    return list(made)


def covered(layer: Layer, size: Size = HD) -> U8:
    """A layer's alpha over the whole frame."""
    grey = np.zeros((size.height, size.width), np.uint8)
    shown = picture(size, scene(size))
    base = replace(shown, planes=(grey, grey[::2, ::2] + 128, grey[::2, ::2] + 128))
    return Compositor()(base, [replace(layer, paint=Solid((255, 255, 255)))]).planes[0]


def test_a_point_of_the_road_stands_where_a_pinhole_sees_it() -> None:
    view = View(1000.0, (640.0, 360.0), 0.0, 0.0, 0.0, 1.25)
    assert project(view, np.array([2.0]), np.array([10.0])).tolist() == [[840.0, 485.0]]
    assert horizon(view, 1280) == ((0.0, 360.0), (1280, 360.0))
    pitched = replace(view, pitch=0.1, yaw=0.05, roll=0.03)
    far = project(pitched, np.array([-2e6, 3e6]), np.array([4e6, 4e6]))
    (_, left), (_, right) = horizon(pitched, 1280)
    assert np.allclose(far[:, 1], left + (right - left) * far[:, 0] / 1280, atol=1e-2), "what is far is on the horizon"
    assert np.isnan(project(view, np.array([0.0]), np.array([-1.0]))).all()


def test_the_carpet_lies_between_the_lines_and_ends_at_the_lead() -> None:
    shown = scene(HD, calm=True)
    (layer,) = layers_of(shown, carpet=True)
    alpha = covered(layer)
    assert shown.view is not None
    inside, left, right, behind = (
        project(shown.view, np.array([0.0, -2.3, 1.9, 0.3]), np.array([8.0, 8.0, 8.0, 21.0]))
        .round()
        .astype(int)
        .tolist()
    )
    assert alpha[inside[1], inside[0]] > 30
    assert alpha[left[1], left[0]] == alpha[right[1], right[0]] == 0
    assert alpha[behind[1], behind[0]] == 0
    assert isinstance(layer.paint, Solid)
    assert layer.paint.rgb == THEMES["day"].carpet


def test_a_line_out_of_sight_is_put_where_the_lane_is_as_wide_as_known() -> None:
    shown = scene(HD, calm=True)
    alone = replace(shown, lanes=replace(shown.lanes, lines=shown.lanes.lines[2:]))
    (both,), (one,) = layers_of(shown, carpet=True), layers_of(alone, carpet=True)
    assert np.array_equal(both.alpha, one.alpha)
    assert layers_of(replace(alone, lanes=replace(alone.lanes, width=None)), carpet=True) == []


def test_the_carpet_takes_the_colour_of_a_departure() -> None:
    leaving = Event("lane_departure", "warning", 0, "on", 0.5, {"side": "left"})
    (layer,) = layers_of(replace(scene(HD), events=(leaving,)), carpet=True)
    assert layer.paint == Solid(THEMES["day"].warning)
    (layer,) = layers_of(replace(scene(HD), events=(replace(leaving, phase="end"),)), carpet=True)
    assert layer.paint == Solid(THEMES["day"].carpet)


def test_lines_are_told_apart_by_colour_and_kind() -> None:
    shown = scene(HD, calm=True)
    yellow, white = layers_of(shown, lines=True)
    assert (yellow.paint, white.paint) == (Solid(THEMES["day"].yellow), Solid(THEMES["day"].white))
    assert shown.view is not None
    alpha, dashed = covered(white), shown.lanes.lines[1]
    # Dashes of 3 m from 4 m on, 4.5 m apart.
    for z, painted in ((5.5, True), (9.0, False), (13.0, True), (16.5, False)):
        ((x, y),) = project(shown.view, np.array([dashed.at(z)]), np.array([z])).round().astype(int).tolist()
        assert (alpha[y, x] > 150) == painted, z


def test_a_line_that_is_only_followed_is_fainter() -> None:
    shown = scene(HD, calm=True)
    followed = tuple(replace(line, seen=False) for line in shown.lanes.lines)
    seen, faint = (
        layers_of(shown, lines=True),
        layers_of(replace(shown, lanes=replace(shown.lanes, lines=followed)), lines=True),
    )
    assert [int(np.max(layer.alpha)) for layer in seen] == [235, 235]
    assert [int(np.max(layer.alpha)) for layer in faint] == [106, 106]


def test_the_loudest_event_is_told_and_none_when_all_is_calm() -> None:
    assert layers_of(scene(HD, calm=True), banner=True) == []
    info = Event("lane_change", "info", 5, "on", 0.2, {})
    ground, _ = layers_of(replace(scene(HD), events=(info, *scene(HD).events)), banner=True)
    assert ground.paint == Solid(THEMES["day"].critical)
    over = tuple(replace(event, phase="end") for event in scene(HD).events)
    assert layers_of(replace(scene(HD), events=over), banner=True) == []


def test_severities_differ_without_colour() -> None:
    signs = []
    for severity in ("info", "warning", "critical"):
        event = Event("lane_change", severity, 0, "on", 0.2, {})
        _, ink = layers_of(replace(scene(HD), events=(event,)), banner=True)
        assert isinstance(ink.alpha, np.ndarray)
        rows = ink.alpha.shape[0]
        signs.append(ink.alpha[:, :rows].tobytes())
    assert len(set(signs)) == 3


def test_what_collides_soon_is_red_and_the_lead_is_marked() -> None:
    paints = [layer.paint for layer in layers_of(scene(HD), boxes=True)]
    assert Solid(THEMES["day"].critical) in paints
    assert Solid(THEMES["day"].lead) in [layer.paint for layer in layers_of(scene(HD, calm=True), boxes=True)]


def test_the_mask_of_the_lead_has_its_colour_and_others_that_of_their_kind() -> None:
    day = THEMES["day"]
    by_paint = {layer.paint: covered(layer) for layer in layers_of(scene(HD, calm=True), masks=True)}
    assert set(by_paint) == {Solid(day.vehicle), Solid(day.lead), Solid(day.vulnerable)}
    lead, truck, _ = scene(HD, calm=True).obstacles
    for here, paint, other in (
        (lead, Solid(day.lead), Solid(day.vehicle)),
        (truck, Solid(day.vehicle), Solid(day.lead)),
    ):
        x, y = round((here.box[0] + here.box[2]) / 2), round((here.box[1] + here.box[3]) / 2)
        assert by_paint[paint][y, x] > 80
        assert by_paint[other][y, x] == 0
    urgent = layers_of(scene(HD), masks=True)
    assert Solid(day.critical) in [layer.paint for layer in urgent]


def test_instances_are_tinted_by_kind_whatever_their_class_is_called() -> None:
    masks = np.zeros((3, 90, 160), np.uint8)
    masks[0, 10:20, 10:20], masks[1, 30:40, 30:40], masks[2, 60:70, 60:70] = 255, 255, 255
    boxes = np.zeros((3, 4), np.float32)
    labels, scores = np.array([0, 1, 2]), np.ones(3, np.float32)
    found = Instances(masks, boxes, labels, scores, ("bus", "bicycle", "bird"), 0, HD)
    vehicle, vulnerable = Hud(**{**NOTHING, "masks": True})(picture(HD, scene(HD)), found, ())  # type: ignore[arg-type]
    assert (vehicle.paint, vulnerable.paint) == (Solid(THEMES["day"].vehicle), Solid(THEMES["day"].vulnerable))
    for layer, place in ((vehicle, 15), (vulnerable, 35)):
        assert isinstance(layer.alpha, np.ndarray)
        assert layer.alpha[place, place] == 92
        assert layer.alpha[65, 65] == 0, "nobody asked for birds"


def test_no_plate_is_over_another_or_out_of_the_frame() -> None:
    shown = scene(HD)
    crowd = tuple(
        replace(shown.obstacles[0], id=i, box=(600.0 + 9 * i, 300.0 + 5 * i, 700.0 + 9 * i, 380.0), lead=False)
        for i in range(30)
    )
    grounds = [layer.box for layer in layers_of(replace(shown, obstacles=crowd), plates=True)[::2]]
    assert 2 <= len(grounds) <= 12
    for i, box in enumerate(grounds):
        assert box is not None
        assert box[0] >= 0
        assert box[1] >= 0
        assert box[2] <= HD.width
        assert box[3] <= HD.height
        for other in grounds[:i]:
            assert other is not None
            assert box[0] >= other[2] or other[0] >= box[2] or box[1] >= other[3] or other[1] >= box[3]


def test_without_a_view_the_regions_are_tinted_instead() -> None:
    layers = layers_of(without_view(scene(HD)), carpet=True, lines=True)
    assert [layer.paint for layer in layers] == [Solid(THEMES["day"].carpet), Solid(THEMES["day"].yellow)]
    assert layers_of(scene(HD), masks=True)[0].paint == Solid(THEMES["day"].vehicle)


def test_other_results_and_observations_pass_without_a_mark() -> None:
    size = Size(320, 180)
    other = Regions(np.full((1, 9, 16), 255, np.uint8), ("person-like",), 0, size)
    frame = picture(size, scene(size))
    seen = [Observation("count", 0, {"label": "cell", "count": 3})]
    assert list(Hud(clock=False)(frame, other, seen)) == []


@pytest.mark.parametrize("size", [Size(64, 36), Size(33, 19), Size(321, 181), Size(640, 360), Size(3840, 2160)])
@pytest.mark.parametrize("theme", THEMES)
def test_it_can_be_drawn_on_frames_of_any_size(size: Size, theme: str) -> None:
    shown = scene(size)
    frame = picture(size, shown)
    layers = Hud(theme=theme)(frame, regions(size, shown), observations(shown))  # type: ignore[arg-type]
    assert Compositor()(frame, layers).size == size


def test_it_takes_the_same_share_of_frames_of_all_sizes() -> None:
    small, large = (
        [layer.box for layer in layers_of(scene(size), size, inset=True, banner=True, clock=True)]
        for size in (Size(1280, 720), Size(3840, 2160))
    )
    for one, other in zip(small, large, strict=True):
        assert one is not None
        assert other is not None
        assert np.allclose(3 * np.array(one), other, atol=0.02 * 2160)


def test_the_speed_is_that_of_the_vehicle_and_comes_with_the_frame() -> None:
    shown = replace(scene(HD), lanes=replace(lanes_of(), offset=None))
    frame, masks = picture(HD, shown), regions(HD, shown)
    hud = Hud(**{**NOTHING, "speed": True})  # type: ignore[arg-type]
    assert len(hud(frame, masks, observations(shown))) == 2
    assert list(hud(frame, masks, observations(shown)[:-1])) == [], "nobody knows it"


def test_the_ground_of_the_inset_is_drawn_once_and_never_drawn_on() -> None:
    inset, shown = Inset(THEMES["day"]), scene(HD)
    frame = picture(HD, shown)
    first = inset(frame, shown)
    empty = inset(frame, Scene())
    again = inset(frame, shown)
    assert first is not None
    assert again is not None
    assert empty is not None
    planes = [layer.paint.frame.planes[0] for layer in (first, empty, again)]  # type: ignore[union-attr]
    assert np.array_equal(planes[0], planes[2])
    assert not np.array_equal(planes[0], planes[1])
    assert Inset.box(Size(120, 90)) is None


def test_times_do_not_depend_on_the_clock_of_the_machine() -> None:
    """So a drive that is drawn again is the same, bit for bit."""
    shown = scene(HD)
    frame, masks = picture(HD, shown), regions(HD, shown)
    seen = observations(shown)
    one, other = (Compositor()(frame, Hud()(frame, masks, seen)) for _ in range(2))
    assert all(np.array_equal(a, b) for a, b in zip(one.planes, other.planes, strict=True))


def test_boxes_far_out_of_the_frame_and_a_camera_that_looks_down_do_no_harm() -> None:
    shown = scene(HD)
    broken = replace(
        shown.obstacles[0], box=(float("-1e9"), -5.0, 1e9, 9000.0), distance=Measure(18.0, 1.0), label="car" * 40
    )
    odd = replace(shown, obstacles=(broken,), view=replace(view_of(HD), pitch=1.2))
    layers = Hud()(picture(HD, shown), regions(HD, shown), observations(odd))
    assert Compositor()(picture(HD, shown), layers).size == HD


def test_the_pace_is_the_time_from_frame_to_frame(monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter([1.0, 1.04, 1.18])
    monkeypatch.setattr("rtseg.driving.hud.time.monotonic", lambda: next(times))
    pace = Pace()
    assert pace() is None
    assert pace() == pytest.approx(40.0)
    assert pace() == pytest.approx(50.0), "a tenth of the way to 140"
    monkeypatch.undo()
    shown = scene(HD)
    hud = Hud(**{**NOTHING, "pace": True})  # type: ignore[arg-type]
    counts = [len(hud(picture(HD, shown), regions(HD, shown), observations(shown))) for _ in range(2)]
    assert counts == [0, 2]


def test_a_theme_that_is_none_is_refused() -> None:
    with pytest.raises(ConfigError, match="'dusk' is none: use one of day, night, contrast"):
        Hud(theme="dusk")  # type: ignore[arg-type]
