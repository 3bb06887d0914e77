"""Models on pictures of roads whose lane lines or obstacles are labelled, told as the analyzers tell them."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import cv2
import numpy as np

from rtseg.datasets import Part
from rtseg.driving.detections import GROUPS, detections_of
from rtseg.driving.ground import F64, to_ground, to_image
from rtseg.driving.lanes import LaneAnalyzer
from rtseg.driving.state import Scene
from rtseg.errors import ConfigError
from rtseg.evaluate.boxes import Box, BoxTally, NamedBox, overlaps
from rtseg.evaluate.coco import CocoSet
from rtseg.evaluate.instances import Finds, match
from rtseg.evaluate.lane_files import LaneSet
from rtseg.evaluate.lane_metrics import LaneFinds, LaneTally
from rtseg.evaluate.metrics import Bool
from rtseg.evaluate.models import Model, known_regions, region_masks
from rtseg.evaluate.plan import Options
from rtseg.evaluate.runs import Progress, chosen_stems
from rtseg.evaluate.scores import SetScores
from rtseg.evaluate.sheet import centred
from rtseg.evaluate.track_runs import obstacle_models
from rtseg.evaluate.worst import WorstPictures, small
from rtseg.ops.arrays import U8
from rtseg.results import Regions
from rtseg.types import Frame

_LOOKS = 8
"""As many frames the analyzer is shown of a picture, since it believes no line of a single one."""
_STEP = 0.04  # seconds between them

_BOX_LEGEND = "true boxes, boxes said; red where one side has no match at an IoU of 0.5"
_LEGEND = "true lines, lines said; red where one side has no match"


def score_lines(
    models: Sequence[Model],
    data: LaneSet,
    *,
    part: Part = "held_out",
    limit: int | None = None,
    options: Options,
    progress: Progress,
) -> list[tuple[SetScores, WorstPictures]]:
    """The lane lines of every model that gives lanes: mask, points, lines on the road, and back into the picture.

    Raises what sets and models raise.
    """
    stems = chosen_stems(data, part, limit)
    names = {model.name: known_regions(model.card, ["lane"], options) for model in models}
    tallies = [(model, LaneTally(), WorstPictures(_LEGEND)) for model in models if names[model.name]]
    if not stems:
        return []
    for done, stem in enumerate(stems if tallies else ()):
        progress(data.title, done, len(stems))
        picture = data.read(stem)
        frame = Frame.from_rgb(picture.rgb)
        for model, tally, worst in tallies:
            model.segmenter.reset()  # a picture is no frame after the one before
            mask = region_masks(model.segmenter(frame), names[model.name])["lane"]
            said = lines_of(mask, frame)
            finds = tally.add(picture.lines, said, frame.size, rows=picture.rows, lanes=picture.lanes)
            caption = f"F1 {finds.f1:.3f}, {stem}"
            panels = _Panels(picture.rgb, picture.lines, said, finds)
            if picture.lines or said:
                worst.add(finds.f1, caption, panels)
    return [
        (
            SetScores(model.name, data.title, part, data.kind, len(stems), (), task="lanes", lanes=tally.scores),
            worst,
        )
        for model, tally, worst in tallies
    ]


def lines_of(mask: U8, frame: Frame) -> list[F64]:
    """The lane lines of a single picture by its lane mask, uint8 hxw, as in `lane_metrics`, left ones first.

    The camera is found by the picture itself, and what it gets wrong is undone when the lines are projected back.
    """
    analyzer = LaneAnalyzer()
    ticks = Fraction(1, 1000)
    for look in range(_LOOKS):
        pts = round(look * _STEP / ticks)
        # An array of its own each time, or the lines would be followed and not measured again.
        regions = Regions(mask[None], ("lane",), frame.pts, frame.size)
        analyzer(frame.at(index=look, pts=pts, time_base=ticks), regions)
    return projected(analyzer.scene, frame.size)


def projected(scene: Scene, size: tuple[int, int]) -> list[F64]:
    """The lines of a scene in a picture of `size` (width, height), from its lower edge to as far as they were seen."""
    view = scene.view
    if view is None:
        return []
    width, height = size
    _, ends = to_ground(view, [0.0, width / 2, width], [float(height)] * 3)
    near = float(np.nanmin(ends)) if np.isfinite(ends).any() else 1.0
    found = []
    for line in scene.lanes.lines:
        z = np.geomspace(max(near, 0.5), max(line.far, near + 1.0), 64)
        u, v = to_image(view, [line.at(each) for each in z], z)
        found.append(np.stack([u, v], axis=-1)[np.isfinite(u)] - 0.5)
    return found


def find_boxes(truth: Sequence[NamedBox], said: Sequence[NamedBox]) -> Finds:
    """Which boxes of a picture are found, and which are right: of one class, best first, at an IoU of 0.5.

    What stands in a crowd is no mistake.
    """
    order = np.argsort([-each.score for each in said], kind="stable")
    shares = overlaps([each.box for each in said], [each.box for each in truth])
    shares *= np.array([[one.name == other.name for other in truth] for one in said], bool).reshape(shares.shape)
    crowd = np.array([each.crowd for each in truth], bool)
    right: Bool = np.array((shares[:, crowd] >= 0.5).any(axis=1), bool)
    shares[:, crowd] = 0.0
    taken = match(shares[order], 0.5)
    right[order] |= taken >= 0
    found: Bool = np.isin(np.arange(len(truth)), taken)
    return Finds(found | crowd, right)


def _outlines(boxes: Sequence[Box]) -> list[F64]:
    return [np.array([(x0, y0), (x1, y0), (x1, y1), (x0, y1), (x0, y0)], np.float64) for x0, y0, x1, y1 in boxes]


class _Panels:
    """The picture with its true lines or boxes and with those said, drawn only where they are kept."""

    def __init__(self, rgb: U8, truth: Sequence[F64], said: Sequence[F64], finds: LaneFinds | Finds) -> None:
        self._rgb, self._sides = rgb, ((truth, finds.truth), (said, finds.said))

    def __call__(self) -> list[U8]:
        plain = small(self._rgb)
        by = plain.shape[1] / self._rgb.shape[1]
        panels = []
        for lines, matched in self._sides:
            drawn = plain // 2
            for line, good in zip(lines, matched, strict=True):
                points = np.rint(line * by).clip(-(2**15), 2**15).astype(np.int32)
                cv2.polylines(drawn, [points], False, (255, 255, 255) if good else (255, 32, 32), 2, cv2.LINE_AA)
            panels.append(centred(drawn))
        return panels


def score_boxes(
    models: Sequence[Model],
    data: CocoSet,
    *,
    part: Part = "held_out",
    limit: int | None = None,
    progress: Progress,
) -> list[tuple[SetScores, WorstPictures]]:
    """The boxes of vehicles and vulnerable road users, by a detector or by the parts of a model's masks.

    Raises ConfigError for a set that labels neither, and what sets and models raise.
    """
    groups = dict.fromkeys(GROUPS[name] for name in data.regions if name in GROUPS)
    if not groups:
        raise ConfigError(
            f"{data.title!r} labels {', '.join(data.regions)}, and none of them is an obstacle, so --task obstacles "
            f"cannot be measured with it: give labels of {', '.join(GROUPS)}"
        )
    able = obstacle_models(models)
    tallies = [(model, BoxTally(tuple(groups)), WorstPictures(_BOX_LEGEND)) for model in able]
    stems = chosen_stems(data, part, limit)
    for done, stem in enumerate(stems if tallies else ()):
        progress(data.title, done, len(stems))
        rgb, labelled = data.boxes(stem)
        truth = [NamedBox(GROUPS[one.name], one.box, crowd=one.crowd) for one in labelled if one.name in GROUPS]
        frame = Frame.from_rgb(rgb)
        for model, tally, worst in tallies:
            model.segmenter.reset()
            found = detections_of(model.segmenter(frame))
            said = [NamedBox(one.group, one.box, one.score) for one in found if one.group in groups]
            tally.add(truth, said, frame.size)
            finds = find_boxes(truth, said)
            if truth or said:
                true, made = (_outlines([each.box for each in side]) for side in (truth, said))
                worst.add(finds.f1, f"F1 {finds.f1:.3f}, {stem}", _Panels(rgb, true, made, finds))
    return [
        (
            SetScores(model.name, data.title, part, data.kind, len(stems), (), task="obstacles", boxes=tally.precision),
            worst,
        )
        for model, tally, worst in tallies
        if stems
    ]
