"""Image processors: what `preprocessor_config.json` says of how a picture becomes a network's input.

Models of the Hugging Face Hub come with that file instead of a card's `[input]`. Every field is either honoured or
refused by its name, since a field that is passed over makes masks that are only a little wrong.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from rtseg.cards import CardInput, Positive, Side, Triple
from rtseg.errors import ModelNotFound, ModelRejected
from rtseg.ops.arrays import F32, U8

_HARMLESS = frozenset(
    {
        "image_processor_type",
        "feature_extractor_type",
        "processor_class",
        "auto_map",
        "_valid_processor_keys",
        "do_convert_rgb",
        "do_reduce_labels",
        "reduce_labels",
        "data_format",
        "input_data_format",
        "return_tensors",
        "default_to_square",
        "device",
        "disable_grouping",
        "_processor_class",
        "ignore_index",
        "num_labels",
        "format",
        "do_convert_annotations",
    }
)
"""Fields that change nothing here: do_reduce_labels and the last four are about the masks of a training set, and
pictures are always RGB."""

IMAGENET: tuple[Triple, Triple] = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Mean and standard deviation of the channels that most networks were trained with."""
_IMAGENET: dict[str, Any] = {"image_mean": IMAGENET[0], "image_std": IMAGENET[1]}
_SCALED: dict[str, Any] = {"size": {"shortest_edge": 800, "longest_edge": 1333}, "resample": 2, **_IMAGENET}
_DEFAULTS: Mapping[str, dict[str, Any]] = {
    "Segformer": {"size": {"height": 512, "width": 512}, "resample": 2, **_IMAGENET},
    "Beit": {"size": {"height": 224, "width": 224}, "resample": 3},
    "MobileViT": {
        "size": {"shortest_edge": 224},
        "resample": 3,
        "do_center_crop": True,
        "crop_size": {"height": 256, "width": 256},
        "do_flip_channel_order": True,
    },
    "MobileNetV2": {
        "size": {"shortest_edge": 256},
        "resample": 2,
        "do_center_crop": True,
        "crop_size": {"height": 224, "width": 224},
    },
    "MaskFormer": {**_SCALED, "size_divisor": 32},
    "Mask2Former": {**_SCALED, "size_divisor": 32},
    "OneFormer": _SCALED,
    "Detr": {**_SCALED, "do_pad": True},
    "ViT": {"size": {"height": 224, "width": 224}, "resample": 2},
}
"""What processors of transformers do where the file is silent; files that name another processor must say all."""

_UNUSED: Mapping[str, dict[str, Any]] = {
    "Segformer": {"do_center_crop": False, "do_pad": False},
    "Beit": {"do_pad": False},
    "MobileViT": {"do_normalize": False, "do_pad": False},
    "MobileNetV2": {"do_pad": False},
    "MaskFormer": {"do_center_crop": False, "do_pad": True},
    "Mask2Former": {"do_center_crop": False, "do_pad": True},
    "OneFormer": {"do_center_crop": False, "do_pad": False},
    "Detr": {"do_center_crop": False},
}
"""What a processor of that name takes and does not do, or does whatever the file says."""

_BY_TYPE = {
    "segformer": "Segformer",
    "upernet": "Segformer",
    "beit": "Beit",
    "data2vec-vision": "Beit",
    "mobilevit": "MobileViT",
    "mobilevitv2": "MobileViT",
    "mobilenet_v2": "MobileNetV2",
    "maskformer": "MaskFormer",
    "mask2former": "Mask2Former",
    "oneformer": "OneFormer",
    "detr": "Detr",
    "clipseg": "ViT",
}
"""The processor that transformers takes for a model, where the file names none."""

_SQUARE = ("Segformer", "Beit", "ViT")
"""Whose `size` as one number means both sides, and not the shorter one."""
_LONGEST = 1333
"""What DETR's processor allows the longest side to have where `size` is one number and there is no `max_size`."""


class Sides(BaseModel):
    """A size: height and width, or the shortest edge with or without the most that the longest may have."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    height: Side | None = None
    width: Side | None = None
    shortest_edge: Side | None = None
    longest_edge: Side | None = None


class Processor(BaseModel):
    """The understood fields, by the names that they have in the file, and what they do to a picture.

    In this order: resize (PIL's, which does not alias; sides rounded up to multiples of size_divisor), crop about the
    centre, rescale, normalise, pad at the right and below with zeros, flip RGB to BGR. resample: 0 nearest, 2 bilinear,
    3 bicubic, as PIL numbers them.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
    do_resize: bool = True
    size: Sides | None = None
    resample: Literal[0, 2, 3] = 2
    do_center_crop: bool = False
    crop_size: Sides | None = None
    do_rescale: bool = True
    rescale_factor: Positive = 1 / 255
    do_normalize: bool = True
    image_mean: Triple = (0.5, 0.5, 0.5)
    image_std: tuple[Positive, Positive, Positive] = (0.5, 0.5, 0.5)
    do_pad: bool = False
    pad_size: Sides | None = None
    do_flip_channel_order: bool = False
    size_divisor: Annotated[int, Field(ge=0)] = 0

    @property
    def plain_size(self) -> tuple[int, int] | None:
        """Width and height that every picture is resized to, where nothing else is done to its shape."""
        alone = self.do_resize and not self.do_center_crop and not (self.do_pad and self.pad_size is not None)
        return self.fixed_size if alone else None

    def resized(self, picture: U8, size: tuple[int, int]) -> U8:
        """RGB uint8 at `size` (width, height), as PIL resizes it."""
        from PIL import Image  # 30 ms that live runs do not need

        return np.asarray(Image.fromarray(picture).resize(size, Image.Resampling(self.resample)))

    def __call__(self, picture: U8) -> F32:
        """RGB uint8 HxWx3 as the input tensor, float32 1x3xhxw, number for number what transformers makes of it.

        Raises ModelRejected where the picture does not fit into `pad_size`.
        """
        size = self._size_before_crop(picture)
        if size != picture.shape[1::-1]:
            picture = self.resized(picture, size)
        if self.do_center_crop and self.crop_size is not None:
            picture = _centred(picture, *_both(self.crop_size))
        factor = self.rescale_factor if self.do_rescale else 1.0
        tensor: F32 = (picture.astype(np.float64) * factor).astype(np.float32)
        if self.do_normalize:
            tensor -= np.array(self.image_mean, np.float32)
            tensor /= np.array(self.image_std, np.float32)
        if self.do_pad and self.pad_size is not None:
            tensor = _padded(tensor, *_both(self.pad_size))
        if self.do_flip_channel_order:
            tensor = tensor[..., ::-1]
        return np.ascontiguousarray(tensor.transpose(2, 0, 1)[None])

    def pixel_mask(self, picture: U8) -> NDArray[np.int64]:
        """Of that picture's tensor, int64 hxw: 1 where the picture is, 0 where it was padded."""
        width, height = self._size_before_crop(picture)
        if self.do_center_crop and self.crop_size is not None:
            width, height = _both(self.crop_size)
        whole = self.do_pad and self.pad_size is not None
        mask = np.zeros(_both(self.pad_size)[::-1] if whole and self.pad_size else (height, width), np.int64)
        mask[:height, :width] = 1
        return mask

    @property
    def fixed_size(self) -> tuple[int, int] | None:
        """Width and height of every tensor; None where they depend on the picture."""
        if self.do_pad and self.pad_size is not None:
            return _both(self.pad_size)
        if self.do_center_crop and self.crop_size is not None:
            return _both(self.crop_size)
        if self.do_resize and self.size is not None and self.size.width:
            return self._whole(_both(self.size))
        return None

    def card_input(self, name: str, size: tuple[int, int]) -> CardInput:
        """The same for live frames, which are stretched to `size` (width, height) whole, not cropped or padded."""
        return CardInput(
            name=name,
            size=size,
            colour="bgr" if self.do_flip_channel_order else "rgb",
            scale=float(f"{1 / self.rescale_factor:.10g}") if self.do_rescale else 1.0,
            mean=turned(self.image_mean, self.do_flip_channel_order) if self.do_normalize else (0.0, 0.0, 0.0),
            std=turned(self.image_std, self.do_flip_channel_order) if self.do_normalize else (1.0, 1.0, 1.0),
        )

    def _size_before_crop(self, picture: U8) -> tuple[int, int]:
        height, width = picture.shape[:2]
        return self._whole(self._resized(width, height)) if self.do_resize else (width, height)

    def _whole(self, size: tuple[int, int]) -> tuple[int, int]:
        """Rounded up to multiples of `size_divisor`."""
        step = max(1, self.size_divisor)
        return -(-size[0] // step) * step, -(-size[1] // step) * step

    def _resized(self, width: int, height: int) -> tuple[int, int]:
        assert self.size is not None
        if self.size.width:
            return _both(self.size)
        wanted, most = self.size.shortest_edge or 0, self.size.longest_edge
        exact: float = wanted
        if most is not None and max(width, height) / min(width, height) * wanted > most:
            exact = most * min(width, height) / max(width, height)
            wanted = round(exact)
            if wanted == min(width, height):
                return width, height
        # transformers rounds down, and takes the shorter side before it was rounded.
        return (wanted, int(exact * height / width)) if width < height else (int(exact * width / height), wanted)


def turned(values: Triple, reverse: bool) -> Triple:
    """Three values, one a channel, in reverse order if so asked: processors turn channels after normalising them."""
    first, second, third = values
    return (third, second, first) if reverse else values


def read_processor(path: Path, *, model_type: str = "") -> Processor:
    """The processor in a `preprocessor_config.json`; ModelRejected names a field that is not understood.

    model_type: of `config.json`, which says whose defaults count where the file does not name its processor.
    """
    try:
        fields = json.loads(path.read_bytes())
    except OSError as error:
        raise ModelNotFound(
            f"{path} cannot be read: {error.strerror or error}; it says how to feed the model"
        ) from error
    except ValueError as error:
        raise ModelRejected(f"{path} is not JSON: {error}") from error
    if not isinstance(fields, dict):
        raise ModelRejected(f"{path} is no image processor: it must be a JSON object")
    named = str(fields.get("image_processor_type") or fields.get("feature_extractor_type") or "")
    kind = next((kind for kind in _DEFAULTS if named.startswith(kind)), None if named else _BY_TYPE.get(model_type))
    given = {key: value for key, value in fields.items() if value is not None and key not in _HARMLESS}
    if kind is not None and _DEFAULTS[kind].get("size") == _SCALED["size"]:
        _modernise(given, kind)
    merged = {**(_DEFAULTS[kind] if kind else {}), **given, **_UNUSED.get(kind or "", {})}
    for key in ("size", "crop_size", "pad_size"):
        if isinstance(merged.get(key), int):
            one = merged[key]
            square = key != "size" or kind in _SQUARE
            merged[key] = {"height": one, "width": one} if square else {"shortest_edge": one}
    if isinstance(sides := merged.get("size"), list) and len(sides) == 2:
        merged["size"] = {"height": sides[1], "width": sides[0]}
    try:
        processor = Processor.model_validate(merged)
    except ValidationError as error:
        raise ModelRejected(f"{path}: {'; '.join(map(_explained, error.errors()))}") from error
    return _checked(processor, path)


def _modernise(given: dict[str, Any], kind: str) -> None:
    """The fields that older files of DETR and MaskFormer have, said in today's; in place."""
    longest = given.pop("max_size", _LONGEST if kind == "Detr" else None)
    if isinstance(given.get("size"), int) and longest is not None:
        given["size"] = {"shortest_edge": given["size"], "longest_edge": longest}
    if "pad_and_return_pixel_mask" in given:
        given.setdefault("do_pad", given.pop("pad_and_return_pixel_mask"))


def _checked(processor: Processor, path: Path) -> Processor:
    """Refuse sizes that say too little for what is to be done with them."""
    if processor.do_resize:
        size = processor.size
        pair = size is not None and (size.height is not None) == (size.width is not None)
        if size is None or not pair or (size.height is None) == (size.shortest_edge is None):
            raise ModelRejected(f"{path}: size must be height and width, or shortest_edge, and not {_shown(size)}")
    for key, wanted in (("crop_size", processor.do_center_crop), ("pad_size", processor.do_pad)):
        sides = getattr(processor, key)
        if wanted and sides is None and key == "pad_size":
            continue  # a picture alone is padded to its own size
        if wanted and (sides is None or not sides.height or not sides.width):
            raise ModelRejected(f"{path}: {key} must be height and width, and not {_shown(sides)}")
    return processor


def _shown(sides: Sides | None) -> str:
    return "nothing" if sides is None else str(sides.model_dump(exclude_none=True))


def _explained(problem: Any) -> str:
    key = ".".join(map(str, problem["loc"]))
    if problem["type"] == "extra_forbidden":
        return (
            f"{key} = {problem['input']!r} is not understood: allowed are {', '.join(Processor.model_fields)}; "
            "write a card for this model instead"
        )
    return f"{key} = {problem['input']!r}: {problem['msg'][0].lower()}{problem['msg'][1:]}"


def _both(sides: Sides) -> tuple[int, int]:
    return sides.width or 0, sides.height or 0


def _centred(picture: U8, width: int, height: int) -> U8:
    """The middle of HxWx3, black around it where it is smaller; an odd rest goes as in transformers' center_crop."""
    above, left = math.ceil((height - picture.shape[0]) / 2), math.ceil((width - picture.shape[1]) / 2)
    if above > 0 or left > 0:
        grown = np.zeros((max(height, picture.shape[0]), max(width, picture.shape[1]), 3), np.uint8)
        above, left = max(above, 0), max(left, 0)
        grown[above : above + picture.shape[0], left : left + picture.shape[1]] = picture
        picture = grown
    top, start = (picture.shape[0] - height) // 2, (picture.shape[1] - width) // 2
    return picture[top : top + height, start : start + width]


def _padded(tensor: F32, width: int, height: int) -> F32:
    below, right = height - tensor.shape[0], width - tensor.shape[1]
    if below < 0 or right < 0:
        raise ModelRejected(
            f"pad_size is {width}x{height}, and the picture before it {tensor.shape[1]}x{tensor.shape[0]}: "
            "correct pad_size in preprocessor_config.json"
        )
    return np.pad(tensor, ((0, below), (0, right), (0, 0)))
