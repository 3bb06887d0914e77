"""Models on sequences in which things keep a number: boxes, followed as the analyzer `obstacles` follows them."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

from rtseg import registry
from rtseg.datasets import read_rgb
from rtseg.driving.detections import GROUPS, Detection, detections_of
from rtseg.errors import ConfigError
from rtseg.evaluate.boxes import DRIVING, Box, BoxTally, NamedBox, TrackTally, overlaps
from rtseg.evaluate.models import Model
from rtseg.evaluate.runs import Progress
from rtseg.evaluate.scores import SetScores
from rtseg.evaluate.track_files import TrackFrame, TrackSet
from rtseg.types import Frame

_SAME = 0.5


def score_tracks(
    models: Sequence[Model], data: TrackSet, *, limit: int | None = None, progress: Progress
) -> list[SetScores]:
    """Average precision of boxes, and HOTA and IDF1 of the numbers they keep, over all sequences.

    limit: so many frames of each sequence, from the first. A model forgets between sequences. Raises ConfigError for
    models that give no obstacle, DependencyMissing without trackers.
    """
    able = obstacle_models(models)
    tracker = registry.import_target("rtseg.driving.tracking:Tracker", extra=DRIVING)
    tallies = [(model, BoxTally(tuple(data.classes)), TrackTally()) for model in able]
    many = 0
    for sequence in data.sequences:
        frames, rate = data.frames(sequence)
        follow = {model.name: tracker() for model in able}
        for model, _, tracks in tallies:
            model.segmenter.reset()
            tracks.begin()
        for done, one in enumerate(frames[:limit]):
            progress(f"{data.title} {sequence.name}", done, len(frames[:limit]))
            time = Fraction(done) / Fraction(rate).limit_denominator(10**6)
            frame = Frame.from_rgb(
                read_rgb(one.path), index=done, pts=round(time * 90000), time_base=Fraction(1, 90000)
            )
            many += 1
            truth = [NamedBox(group, box) for group, boxes in one.truth.items() for box in boxes.values()]
            numbered = {number: box for boxes in one.truth.values() for number, box in boxes.items()}
            for model, boxes_tally, tracks in tallies:
                found = [each for each in detections_of(model.segmenter(frame)) if each.group in data.classes]
                followed = follow[model.name](found, frame.time)
                kept = counted(found, one)
                boxes_tally.add(truth, [NamedBox(each.group, each.box, each.score) for each in kept], frame.size)
                seen: dict[int, Box] = {track.id: track.detection.box for track in followed if track.detection in kept}
                tracks.add(numbered, seen)
    return [
        SetScores(
            model.name,
            data.title,
            "all",
            data.kind,
            many,
            (),
            task="obstacles",
            boxes=boxes_tally.precision,
            tracks=tracks.scores,
        )
        for model, boxes_tally, tracks in tallies
    ]


def counted(found: Sequence[Detection], frame: TrackFrame) -> list[Detection]:
    """Without those that stand where something is ignored, and nothing true."""
    if not frame.ignored or not found:
        return list(found)
    boxes = [each.box for each in found]
    true = [box for own in frame.truth.values() for box in own.values()]
    near = overlaps(boxes, true).max(axis=1, initial=0.0)
    beside = overlaps(boxes, frame.ignored).max(axis=1, initial=0.0)
    return [each for each, right, none in zip(found, near, beside, strict=True) if right >= _SAME or none < _SAME]


def obstacle_models(models: Sequence[Model]) -> list[Model]:
    """Those that give a vehicle or a vulnerable road user; ConfigError where none does."""
    able = [model for model in models if any(name in GROUPS for name in model.card.names)]
    if not able:
        raise ConfigError(
            f"none of {', '.join(model.name for model in models)} gives an obstacle ({', '.join(GROUPS)}): use a "
            "detector, such as yolox-nano, or the model road"
        )
    return able
