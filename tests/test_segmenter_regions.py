from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from echo import EchoEngine, card
from numpy.typing import NDArray

from rtseg.errors import InferenceFailed, ModelRejected
from rtseg.ops.arrays import F32, U8
from rtseg.segmenters.regions import RegionSegmenter
from rtseg.types import Frame, Regions, Segmenter


def first_channel(tensor: F32) -> dict[str, NDArray[Any]]:
    return {"y": tensor[:, :1]}


def picture_with_edges(width: int, height: int, x: float, y: float) -> Frame:
    """White right of `x` and below `y` (pixels), black elsewhere; the pixels that the edges cut are grey."""
    right = np.clip(np.arange(width) + 1 - x, 0, 1)
    below = np.clip(np.arange(height) + 1 - y, 0, 1)
    grey = np.rint(255 * below[:, None] * right[None, :]).astype(np.uint8)
    return Frame.from_rgb(np.repeat(grey[..., None], 3, axis=2))


def edge_in(profile: U8, length: int) -> float:
    """Where a profile that rises once crosses a half, in pixels of a picture that is `length` wide."""
    after = int(np.argmax(profile >= 128))
    low, high = float(profile[after - 1]), float(profile[after])
    return (after - 0.5 + (127.5 - low) / (high - low)) * length / profile.size


@pytest.mark.parametrize("fit", ["stretch", "letterbox"])
@pytest.mark.parametrize("frame_size", [(128, 72), (129, 71), (97, 97), (60, 110), (1280, 720), (641, 361)])
@pytest.mark.parametrize("size", [(64, 36), (65, 37), (64, 64)])
def test_an_edge_comes_back_where_it_was(fit: str, frame_size: tuple[int, int], size: tuple[int, int]) -> None:
    width, height = frame_size
    segmenter = RegionSegmenter(card(size=size, fit=fit), EchoEngine(size, first_channel))
    for x, y in [(width * 0.43, height * 0.57), (width * 0.61, height * 0.38)]:
        result = segmenter(picture_with_edges(width, height, x, y))
        mask = result.probabilities[0]
        # A quarter of a pixel of the mask, whose step in pixels of the frame is width / columns.
        assert edge_in(mask[-1], width) == pytest.approx(x, abs=0.25 * max(1, width / mask.shape[1]))
        assert edge_in(mask[:, -1], height) == pytest.approx(y, abs=0.25 * max(1, height / mask.shape[0]))


def test_a_letterboxed_mask_has_no_bars() -> None:
    segmenter = RegionSegmenter(card(size=(64, 64), fit="letterbox"), EchoEngine((64, 64), first_channel))
    result = segmenter(Frame.from_rgb(np.full((36, 64, 3), 255, np.uint8)))
    assert result.probabilities.shape == (1, 36, 64)
    assert result.probabilities.min() >= 254


def test_the_tensor_is_scaled_shifted_and_ordered_as_the_card_says() -> None:
    seen: list[F32] = []

    def keep(tensor: F32) -> dict[str, NDArray[Any]]:
        seen.append(tensor.copy())
        return {"y": np.zeros((1, 1, 4, 4), np.float32)}

    mean, std = (0.1, 0.2, 0.3), (0.5, 0.25, 2.0)
    made = card(size=(8, 8), fit="letterbox", pad=100, colour="bgr", mean=mean, std=std)
    segmenter = RegionSegmenter(made, EchoEngine((8, 8), keep))
    segmenter(Frame.from_rgb(np.full((4, 8, 3), (255, 0, 0), np.uint8)))
    (tensor,) = seen
    for channel, level, m, s in zip(tensor[0], (0, 0, 255), mean, std, strict=True):
        # Two levels for the way through YUV.
        np.testing.assert_allclose(channel[2:6], (level / 255 - m) / s, atol=2 / 255 / s)
        np.testing.assert_allclose(channel[[0, 1, 6, 7]], (100 / 255 - m) / s, atol=1e-6)


def test_regions_come_in_the_order_of_the_card_at_the_finest_resolution() -> None:
    made = card(
        names=("lane", "road", "car"),
        outputs=[
            {"name": "a", "regions": {"road": 0}},
            {"name": "b", "activation": "softmax", "regions": {"car": 2, "lane": 1}},
        ],
    )
    logits = np.zeros((1, 3, 36, 64), np.float32)
    logits[0, 1] = np.log(2.0)  # softmax of (0, log 2, 0): 1/4, 1/2, 1/4
    outputs = {"a": np.full((1, 1, 18, 32), 0.8, np.float32), "b": logits}
    result = RegionSegmenter(made, EchoEngine((64, 36), lambda _: outputs))(plain())
    assert result.names == ("lane", "road", "car")
    assert result.probabilities.shape == (3, 36, 64)
    assert [int(mask.max()) for mask in result.probabilities] == [128, 204, 64]
    assert [int(mask.min()) for mask in result.probabilities] == [128, 204, 64]


def test_the_result_is_its_own() -> None:
    engine = EchoEngine((64, 36), first_channel)
    segmenter = RegionSegmenter(card(), engine)
    result = segmenter(plain(level=255))
    before = result.probabilities.copy()
    segmenter(plain(level=0))
    np.testing.assert_array_equal(result.probabilities, before)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1.5, -0.5])
def test_what_cannot_be_a_probability_is_refused(value: float) -> None:
    output = np.full((1, 1, 36, 64), 0.5, np.float32)
    output[0, 0, 3, 5] = value
    segmenter = RegionSegmenter(card(), EchoEngine((64, 36), lambda _: {"y": output}))
    with pytest.raises(InferenceFailed, match=r"'y'.*'echo'.*frame 7"):
        segmenter(plain(index=7))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_logits_must_be_finite_in_every_channel(value: float) -> None:
    made = card(outputs=[{"name": "y", "activation": "softmax", "regions": {"person": 1}}])
    output = np.zeros((1, 3, 36, 64), np.float32)
    output[0, 2, 0, 0] = value
    with pytest.raises(InferenceFailed):
        RegionSegmenter(made, EchoEngine((64, 36), lambda _: {"y": output}))(plain())


def test_a_card_that_does_not_fit_the_graph_is_refused() -> None:
    with pytest.raises(ModelRejected, match=r"1, 3, 36, 64.*1, 3, 40, 64"):
        RegionSegmenter(card(), EchoEngine((64, 40), first_channel))
    segmenter = RegionSegmenter(card(), EchoEngine((64, 36), lambda _: {"z": np.zeros((1, 1, 2, 2), np.float32)}))
    with pytest.raises(ModelRejected, match="output y"):
        segmenter(plain())
    far = card(outputs=[{"name": "y", "regions": {"person": 4}}])
    with pytest.raises(ModelRejected, match="channel 4"):
        RegionSegmenter(far, EchoEngine((64, 36), first_channel))(plain())


def test_empty_claims_nothing_and_covers_the_frame() -> None:
    segmenter = RegionSegmenter(card(), EchoEngine((64, 36), first_channel))
    frame = plain()
    empty = segmenter.empty(frame)
    assert isinstance(segmenter, Segmenter)
    assert isinstance(empty, Regions)
    assert (empty.names, empty.size, empty.pts) == (("person",), frame.size, frame.pts)
    assert not empty.probabilities.any()
    segmenter.reset()


def plain(*, level: int = 128, index: int = 0) -> Frame:
    return Frame.from_rgb(np.full((36, 64, 3), level, np.uint8), index=index)
