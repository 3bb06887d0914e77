"""COCO files as sets: what is read of them, what is measured on them, and what is wrong with them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from segments import CATEGORIES, SIZE, box, by_name, quiet, teller, true, write_coco

from rtseg.errors import ConfigError, DependencyMissing, SourceUnreadable
from rtseg.evaluate.coco import CocoSet
from rtseg.evaluate.plan import Alias, Options
from rtseg.evaluate.runs import score_set
from rtseg.evaluate.truth import Task
from rtseg.types import Instances, Panoptic, Segmentation, SegmentInfo, Semantic, Size

CAT, DOG, SKY = box(10, 5, 20, 10), box(10, 30, 20, 10), box(0, 0, 10, 60)
GRASS = ~(CAT | DOG | SKY)
NAMES = ("cat", "dog", "grass", "sky")
FRAME = Size(SIZE[1], SIZE[0])


@pytest.fixture
def panoptic(tmp_path: Path) -> Path:
    """One picture: a cat, a dog that is void, grass, sky."""
    segments = [true("cat", CAT), true("grass", GRASS), true("sky", SKY)]
    return write_coco(tmp_path, {"a": segments}, panoptic=True, categories=CATEGORIES)


@pytest.fixture
def instances(tmp_path: Path) -> Path:
    """Two pictures: a cat and a crowd of dogs, and nothing."""
    pytest.importorskip("faster_coco_eval", reason="pip install 'rtseg[eval]'")
    things = {"cat": True, "dog": True}
    pictures = {"a": [true("cat", CAT), true("dog", DOG, crowd=True)], "b": []}
    return write_coco(tmp_path, pictures, panoptic=False, categories=things)


def panoptic_result(*segments: tuple[str, np.ndarray]) -> Panoptic:
    ids = np.full(SIZE, -1, np.int32)
    for number, (_, mask) in enumerate(segments, start=3):
        ids[mask] = number
    infos = tuple(SegmentInfo(number, NAMES.index(name), 0.9) for number, (name, _) in enumerate(segments, start=3))
    return Panoptic(ids, infos, NAMES, 0, FRAME)


def instance_result(*segments: tuple[str, np.ndarray]) -> Instances:
    masks = np.array([np.where(mask, 255, 0) for _, mask in segments], np.uint8).reshape(-1, *SIZE)
    labels = np.array([NAMES.index(name) for name, _ in segments], np.int64)
    count = len(segments)
    scores = np.linspace(0.9, 0.5, count, dtype=np.float32)
    return Instances(masks, np.zeros((count, 4), np.float32), labels, scores, NAMES, 0, FRAME)


def scored(path: Path, *results: Segmentation, task: Task | None = None, **options: Any) -> Any:
    data = CocoSet(file=path, masks=path.parent / "labels")
    (found,) = score_set(
        [teller(NAMES, results)], data, part="all", options=Options(**options), progress=quiet, task=task
    )
    return found


def test_a_panoptic_file_is_read_to_the_pixel(panoptic: Path) -> None:
    data = CocoSet(file=panoptic, masks=panoptic.parent / "labels")
    assert (data.kind, data.title, dict(data.regions)) == ("coco-panoptic", "labels", CATEGORIES)
    picture = data.truth("a")
    assert [segment.name for segment in picture.segments] == ["cat", "grass", "sky"]
    assert np.array_equal(picture.segments[0].mask, CAT)
    assert np.array_equal(picture.sample.known > 127, CAT | GRASS | SKY)
    assert np.array_equal(picture.sample.planes["sky"] > 127, SKY)
    assert not picture.sample.planes["dog"].any()
    assert (data.stems("all"), data.stems("held_out"), data.stems("train")) == (["a"], ["a"], [])


def test_the_masks_of_a_panoptic_file_are_usually_in_the_folder_of_its_name(panoptic: Path) -> None:
    data = CocoSet(file=panoptic)  # labels.json, labels/
    assert np.array_equal(data.truth("a").segments[0].mask, CAT)


def test_instances_are_read_to_the_pixel_with_their_crowds(instances: Path) -> None:
    data = CocoSet(file=instances)
    picture = data.truth("a")
    assert [(segment.name, segment.crowd, segment.area) for segment in picture.segments] == [
        ("cat", False, 200.0),
        ("dog", True, 200.0),
    ]
    assert np.array_equal(picture.segments[1].mask, DOG)
    assert picture.sample.known.all()
    assert data.truth("b").segments == ()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # pycocotools 2.0.11 with NumPy 2, of its own doing
def test_polygons_and_plain_runs_are_read_as_pycocotools_reads_them(instances: Path) -> None:
    runs: Any = pytest.importorskip("pycocotools.mask", reason="pip install 'rtseg[labels]'")
    polygons = [[5.5, 5.0, 20.0, 5.0, 12.3, 18.7], [30.0, 10.0, 40.0, 10.0, 40.0, 20.0, 30.0, 20.0]]
    counts = [3, 5, SIZE[0] * SIZE[1] - 8]
    edit(instances, lambda d: d["annotations"][0].update(segmentation=polygons))
    edit(instances, lambda d: d["annotations"][1].update(segmentation={"size": list(SIZE), "counts": counts}))
    first, second = CocoSet(file=instances).truth("a").segments
    wanted = runs.decode(runs.merge(runs.frPyObjects(polygons, *SIZE)))
    assert np.array_equal(first.mask, wanted == 1)
    assert np.flatnonzero(second.mask.T.ravel()).tolist() == [3, 4, 5, 6, 7]


def test_panoptic_quality_of_a_panoptic_model(panoptic: Path) -> None:
    result = panoptic_result(("cat", CAT), ("dog", DOG), ("grass", GRASS))
    scores, worst = scored(panoptic, result)
    found = by_name(scores.panoptic)
    assert (scores.task, scores.kind, scores.pictures, scores.regions) == ("panoptic", "coco-panoptic", 1, ())
    assert (found["cat"].pq, found["grass"].pq, found["sky"].pq) == (1.0, 1.0, 0.0)
    assert "dog" not in found  # it lies where nothing is known
    assert found["all"].pq == pytest.approx(2 / 3)
    assert worst.captions == ["PQ 0.800, a"]


def test_instances_are_panoptic_segments_too(panoptic: Path) -> None:
    scores, _ = scored(panoptic, instance_result(("cat", CAT), ("cat", CAT)), task="panoptic")
    found = by_name(scores.panoptic)
    assert (found["cat"].pq, found["cat"].made_up) == (1.0, 0)  # nothing was left for the second


def test_the_result_of_a_network_is_brought_to_the_size_of_the_picture(panoptic: Path) -> None:
    result = panoptic_result(("cat", CAT), ("grass", GRASS), ("sky", SKY))
    small = Panoptic(np.ascontiguousarray(result.ids[2::5, 2::5]), result.segments_info, NAMES, 0, FRAME)
    scores, _ = scored(panoptic, small)
    assert by_name(scores.panoptic)["all"].pq == 1.0


def test_precision_of_things_of_a_panoptic_file(panoptic: Path) -> None:
    pytest.importorskip("faster_coco_eval", reason="pip install 'rtseg[eval]'")
    result = panoptic_result(("cat", CAT), ("grass", GRASS))
    scores, _ = scored(panoptic, result, task="instance")
    assert (scores.precision.ap, scores.precision.truth, scores.panoptic) == (pytest.approx(1.0), 1, ())
    assert [one.name for one in scores.precision.classes] == ["cat"]  # grass is stuff


def test_crowds_and_empty_pictures_count_as_in_coco(instances: Path) -> None:
    scores, worst = scored(instances, instance_result(("cat", CAT), ("dog", box(12, 32, 5, 5))), instance_result())
    assert scores.precision.ap == pytest.approx(1.0)  # the dog is one of the crowd
    assert (scores.precision.truth, scores.precision.predicted) == (1, 2)
    assert worst.captions == ["F1 1.000, a"]


def test_classes_of_a_panoptic_file_by_hand(panoptic: Path) -> None:
    labels = np.full(SIZE, 2, np.uint8)  # grass
    labels[CAT] = 0
    labels[:5] = 3  # the upper half of the sky
    scores, _ = scored(panoptic, Semantic(labels, NAMES, 0, FRAME), task="semantic")
    areas = {region.region: region for region in scores.regions}
    sky, grass = 300, int(GRASS.sum())
    assert [areas[name].iou for name in ("cat", "grass", "sky")] == [1.0, grass / (grass + sky), 0.5]
    assert not areas["dog"].occurs
    assert scores.miou == pytest.approx((1.0 + grass / (grass + sky) + 0.5) / 3)
    assert scores.mean_accuracy == pytest.approx((1.0 + 1.0 + 0.5) / 3)
    assert scores.pixel_accuracy == pytest.approx((200 + grass + 300) / (200 + grass + 600))


def test_classes_are_scored_as_by_torchmetrics(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="pip install 'rtseg[train]'")
    classification = pytest.importorskip("torchmetrics.classification", reason="pip install 'rtseg[train]'")
    generator = np.random.default_rng(3)
    blocks = [np.kron(generator.integers(0, 4, (8, 12)), np.ones((5, 5), int)) for _ in range(6)]
    said = [np.where(generator.random(SIZE) < 0.3, generator.integers(0, 4, SIZE), block) for block in blocks]
    pictures = {f"p{i}": [true(NAMES[c], block == c) for c in range(4)] for i, block in enumerate(blocks)}
    path = write_coco(tmp_path, pictures, panoptic=True, categories=CATEGORIES)
    results = [Semantic(labels.astype(np.uint8), NAMES, 0, FRAME) for labels in said]
    scores, _ = scored(path, *results, task="semantic")
    pair = torch.tensor(np.stack(said)), torch.tensor(np.stack(blocks))
    iou = classification.MulticlassJaccardIndex(num_classes=4, average=None)(*pair)
    assert [region.iou for region in scores.regions] == pytest.approx(iou.tolist(), abs=1e-6)
    assert scores.miou == pytest.approx(float(iou.mean()), abs=1e-6)
    for average, found in (("micro", scores.pixel_accuracy), ("macro", scores.mean_accuracy)):
        wanted = float(classification.MulticlassAccuracy(num_classes=4, average=average)(*pair))
        assert found == pytest.approx(wanted, abs=1e-6)


def test_what_a_model_does_not_give_is_named_and_left_out(panoptic: Path) -> None:
    result = panoptic_result(("cat", CAT), ("grass", GRASS), ("sky", SKY))
    data = CocoSet(file=panoptic)
    ((scores, worst),) = score_set([teller(NAMES[:3], [result])], data, part="all", options=Options(), progress=quiet)
    assert scores.missing == ("sky",)
    assert worst.captions == ["PQ 1.000, a"]
    assert by_name(scores.panoptic)["all"].pq == 1.0


@pytest.mark.parametrize("score", [0.99, None])
def test_what_the_set_does_not_label_is_no_mistake_and_takes_no_room(panoptic: Path, score: float | None) -> None:
    names = (*NAMES, "tree")
    tree, cat = SegmentInfo(1, 4, score), SegmentInfo(2, 0, 0.5)
    result = Panoptic(np.where(SKY, 1, np.where(CAT, 2, -1)).astype(np.int32), (tree, cat), names, 0, FRAME)
    model = teller(names, [result])
    ((scores, _),) = score_set([model], CocoSet(file=panoptic), part="all", options=Options(), progress=quiet)
    assert by_name(scores.panoptic)["cat"].pq == 1.0
    assert {quality.name for quality in scores.panoptic if quality.made_up} == set()
    things = Instances(
        np.array([np.where(CAT, 255, 0)] * 2, np.uint8), np.zeros((2, 4), np.float32), np.array([4, 0]),
        np.array([0.9, 0.5], np.float32), names, 0, FRAME,
    )  # fmt: skip
    model = teller(names, [things])
    ((scores, _),) = score_set([model], CocoSet(file=panoptic), part="all", options=Options(), progress=quiet)
    assert by_name(scores.panoptic)["cat"].pq == 1.0


def test_names_are_matched_by_alias(panoptic: Path) -> None:
    result = Panoptic(np.where(SKY, 1, -1).astype(np.int32), (SegmentInfo(1, 0),), ("clouds",), 0, FRAME)
    options = Options(alias=(Alias(region="sky", names=("clouds",)),))
    model = teller(("clouds",), [result])
    ((scores, _),) = score_set([model], CocoSet(file=panoptic), part="all", options=options, progress=quiet)
    assert by_name(scores.panoptic)["sky"].pq == 1.0


def test_a_name_that_stands_for_two_categories_is_refused(panoptic: Path) -> None:
    alias = tuple(Alias(region=region, names=("cat",)) for region in ("cat", "dog"))
    with pytest.raises(ConfigError, match="'cat' of 'teller' stands for cat, dog of 'labels'"):
        scored(panoptic, panoptic_result(("cat", CAT)), alias=alias)


@pytest.mark.parametrize("task", ["panoptic", "instance"])
def test_a_model_that_tells_no_things_apart_is_refused(panoptic: Path, task: Task) -> None:
    labels = Semantic(np.zeros(SIZE, np.uint8), NAMES, 0, FRAME)
    with pytest.raises(ConfigError, match=rf"'teller' gives classes of pixels .* --task {task} .* --task semantic"):
        scored(panoptic, labels, task=task)


def test_labels_that_do_not_show_what_is_wanted_are_refused(instances: Path) -> None:
    for task in ("panoptic", "matte"):
        with pytest.raises(ConfigError, match=rf"'coco-instances', which show no .* --task {task} .*--task instance"):
            scored(instances, instance_result(), task=task)


def edit(path: Path, change: Callable[[Any], object]) -> None:
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda d: d["categories"][1].update(name="cat"), "two categories called cat"),
        (lambda d: d["annotations"][0].update(image_id=9), "image 9, which is not in images"),
        (lambda d: d["annotations"][0]["segments_info"][0].update(category_id=99), "category 99: known are 7 cat"),
        (lambda d: d["annotations"][0]["segments_info"].pop(), "the id 210001, which segments_info"),
        (lambda d: d["annotations"].append(d["annotations"][0]), "2 annotations of a.png"),
        (lambda d: d["images"][0].update(file_name="../a.png"), "outside"),
        (lambda d: d["images"][0].update(file_name="b.png"), "which is not in"),
        (lambda d: d.update(annotations=[]), "no annotation"),
        (lambda d: d["annotations"].append({"image_id": 1, "category_id": 7}), "both instances and panoptic"),
        (lambda d: d.pop("categories"), "not a COCO file: categories"),
    ],
)
def test_what_a_file_says_wrongly_is_named(panoptic: Path, change: Callable[[Any], object], said: str) -> None:
    edit(panoptic, change)
    with pytest.raises(ConfigError, match=said):
        scored(panoptic, panoptic_result(("cat", CAT)))


@pytest.mark.parametrize(
    ("segmentation", "said"),
    [
        ([[1.0, 2.0, 3.0]], "polygon"),
        ({"size": [9, 9], "counts": [81]}, "runs for 9x9"),
        ({"size": list(SIZE), "counts": [5]}, "runs over 5 pixels"),
    ],
)
def test_broken_areas_are_named(instances: Path, segmentation: object, said: str) -> None:
    edit(instances, lambda d: d["annotations"][0].update(segmentation=segmentation))
    with pytest.raises(ConfigError, match=said):
        CocoSet(file=instances).truth("a")


def test_pictures_and_masks_must_have_the_size_that_the_file_says(panoptic: Path) -> None:
    mask = panoptic.parent / "labels" / "a.png"
    cv2.imwrite(str(mask), np.zeros((5, 5, 3), np.uint8))
    with pytest.raises(SourceUnreadable, match=r"5x5, its picture 60x40"):
        CocoSet(file=panoptic).truth("a")
    cv2.imwrite(str(panoptic.parent / "images" / "a.png"), np.zeros((5, 5, 3), np.uint8))
    with pytest.raises(SourceUnreadable, match=r"a.png is 60x40, but it is 5x5"):
        CocoSet(file=panoptic).truth("a")


def test_without_the_library_it_is_said_what_to_install(instances: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    for name in [name for name in sys.modules if name.startswith("faster_coco_eval")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "faster_coco_eval", None)
    with pytest.raises(DependencyMissing, match=r"pip install 'rtseg\[eval\]'"):
        scored(instances, instance_result())
