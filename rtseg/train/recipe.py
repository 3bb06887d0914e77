"""A training run as data: the TOML file that `rtseg train` takes, checked before anything is loaded."""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, ValidationError, model_validator
from pydantic_core import ErrorDetails

from rtseg.datasets import DataSet, place
from rtseg.errors import ConfigError

Share = Annotated[float, Field(ge=0.0, le=1.0)]
Positive = Annotated[float, Field(gt=0.0, allow_inf_nan=False)]
Zoom = Annotated[float, Field(gt=0.0, le=1.0)]
Side = Annotated[int, Field(ge=32, le=2048, multiple_of=16)]
Size = tuple[Side, Side]


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class EncoderOptions(_Table):
    """Which encoder, and where its weights are.

    kind: "mobile" (ours, from scratch), "lite0" (EfficientNet-Lite0), "onnx" (values of a published graph). file:
    safetensors or ONNX. blocks: how many inverted residuals are kept. taps, scale, bgr: see `GraphEncoder`. shrink: 2
    for a `ShrunkEncoder`. frozen: how many of the first parts (tensors of a graph) do not learn. rate: share of the
    learning rate for weights that come from elsewhere.
    """

    kind: Literal["mobile", "lite0", "onnx"] = "mobile"
    file: Path | None = None
    blocks: Annotated[int, Field(ge=1)] | None = None
    width: Positive = 1.0
    taps: tuple[str, ...] = ()
    scale: Positive = 1.0
    bgr: bool = False
    shrink: Literal[1, 2] = 1
    frozen: Annotated[int, Field(ge=0)] = 0
    rate: Share = 0.3


class NetworkOptions(_Table):
    """What is trained. size: width and height of its input. widths: of the decoder, coarsest first.

    architecture: "network" is ours; "onnx" goes on from a whole published graph, `start`; "ensemble" averages what the
    graphs `members` say, by `shares` (default: alike), each at its own size; "segformer" takes a
    checkpoint of transformers, see `SegformerNetwork`. grow, temper: see `GraphNetwork`. start: weights to go on from,
    the last.safetensors of an earlier run or the ONNX file that it exported. keep: share of the start's weights in what
    is exported: a little worse on what was trained on, better on what neither saw (Wortsman et al., Robust fine-tuning
    of zero-shot models, 2022).
    """

    architecture: Literal["network", "onnx", "ensemble", "segformer"] = "network"
    size: Size
    encoder: EncoderOptions = EncoderOptions()
    widths: tuple[Annotated[int, Field(ge=8, multiple_of=8)], ...] = (64, 32, 24, 16)
    stages: Annotated[int, Field(ge=1, le=4)] = 1
    start: Path | None = None
    keep: Share = 0.0
    members: tuple[Path, ...] = ()
    shares: tuple[Positive, ...] = ()
    grow: Annotated[int, Field(ge=0)] = 0
    temper: Positive = 1.0
    checkpoint: str | None = None


class HeadOptions(_Table):
    """One output of the network: regions that share a map, and how they are learnt.

    stride: of the map, in pixels of the input. weight: of its loss. dice: share of the dice loss beside the
    cross-entropy. edge: how much more pixels at an edge count. positive: how much more pixels of the region count.
    gain: what labels are multiplied with, then clipped to 1: thin lines grow faint when pictures are made small.
    shift: added to the logits at export, to move the threshold; choose it on training pictures.
    """

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
    regions: Annotated[tuple[str, ...], Field(min_length=1)]
    stride: Literal[1, 2, 4, 8] = 1
    weight: Positive = 1.0
    dice: Share = 0.5
    edge: Annotated[float, Field(ge=0.0)] = 0.0
    positive: Positive = 1.0
    gain: Positive = 1.0
    shift: Annotated[float, Field(allow_inf_nan=False)] = 0.0


class DataOptions(DataSet):
    """A set, and how its pictures are drawn. scene: which imitation it gets, "person", "road" or "cells"."""

    scene: Literal["person", "road", "cells", "plain"] = "plain"
    derive: Literal["none", "border"] = "none"


class ClipOptions(_Table):
    """Unlabelled footage that teachers label: a video, every `every`-th frame of it; clips may share a `name`."""

    path: Path
    name: str = ""
    every: Annotated[int, Field(ge=1)] = 5
    weight: Positive = 1.0
    scene: Literal["person", "road", "plain"] = "plain"

    @property
    def title(self) -> str:
        """What teachers name it by: as given, or the file's."""
        return self.name or self.path.stem


class TeacherOptions(_Table):
    """A model whose opinion is asked about pictures.

    model: a card. use: "fill" labels regions that a set does not know; "ignore" makes unknown what the label denies
    but the teacher sees, such as bystanders; "distil" is asked about every augmented picture and is learnt from
    beside the labels, `weight` of the loss; several are averaged by their weights. sets: names of sets and clips,
    empty for all. regions: the model's name of a region -> ours.
    """

    model: str
    use: Literal["fill", "ignore", "distil"]
    regions: dict[str, str]
    sets: tuple[str, ...] = ()
    weight: Share = 0.5
    sure: Share = 0.0


class BackgroundOptions(_Table):
    """Pictures to put a subject before. folder: with `images/`, and `masks/` where what must not show is labelled.

    absent: only pictures whose mask has none of these values are taken. fill: pictures with the subject (mask over 0)
    are taken too, and the subject is painted over with its surroundings.
    """

    folder: Path
    absent: tuple[int, ...] = ()
    fill: bool = False


class AugmentOptions(_Table):
    """How pictures are changed; each number is how often.

    background: replaced by another picture without the subject. empty: a background alone. bystander: a second
    person beside the first. weather: rain, dusk, night, glare, a dirty windscreen. cabin: bonnets, pillars and wipers.
    sensor: noise, blur, exposure, compression. upper: cut as a webcam would. zoom: share of the picture that is shown.
    """

    background: Share = 0.0
    empty: Share = 0.0
    bystander: Share = 0.0
    upper: Share = 0.0
    flip: Share = 0.5
    rotate: Annotated[float, Field(ge=0.0, le=45.0)] = 5.0
    zoom: tuple[Zoom, Zoom] = (0.5, 1.0)
    sensor: Share = 0.7
    weather: Share = 0.0
    cabin: Share = 0.0
    backgrounds: tuple[BackgroundOptions, ...] = ()


class ScheduleOptions(_Table):
    """How long and how fast. steps in all, 0 to export the start as it is; a checkpoint, a validation and a picture
    sheet every `epoch` steps.

    small: share of the steps that are made at `small_size`, which costs less. consistency: weight of the difference
    between two renderings of the same picture, against flicker.
    """

    steps: Annotated[int, Field(ge=0)]
    epoch: Annotated[int, Field(ge=1)] = 250
    batch: Annotated[int, Field(ge=1)] = 16
    rate: Positive = 1e-3
    decay: Annotated[float, Field(ge=0.0)] = 1e-4
    warmup: Annotated[int, Field(ge=0)] = 100
    clip: Positive = 1.0
    ema: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.998
    small: Share = 0.0
    small_size: Size | None = None
    consistency: Annotated[float, Field(ge=0.0)] = 0.0


class CardOptions(_Table):
    """What the card says that training cannot know."""

    description: str
    licence: str
    source: str
    data: str
    palette: dict[str, str] = {}


class Recipe(_Table):
    """Everything about a run. name: of the model and its files. seed: all chance comes from it."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]*$")]
    seed: int = 1
    model: NetworkOptions
    heads: Annotated[tuple[HeadOptions, ...], Field(min_length=1)]
    data: Annotated[tuple[DataOptions, ...], Field(min_length=1)]
    clips: tuple[ClipOptions, ...] = ()
    teachers: tuple[TeacherOptions, ...] = ()
    augment: AugmentOptions = AugmentOptions()
    schedule: ScheduleOptions
    card: CardOptions
    _text: str = PrivateAttr(default="")

    @property
    def regions(self) -> tuple[str, ...]:
        """Of all heads, in order."""
        return tuple(region for head in self.heads for region in head.regions)

    @property
    def hash(self) -> str:
        """SHA-256 of what the recipe's file says about training, with the steps and the seed.

        Not of where its folders are, nor of what is chosen for an export afterwards: the card, shifts and model.keep.
        """
        text = self._text or _text(self.model_dump(mode="json", exclude_defaults=True))
        return hashlib.sha256(f"{text} {self.schedule.steps} {self.seed}".encode()).hexdigest()

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if len(set(self.regions)) != len(self.regions):
            raise ValueError(f"each region belongs to one head, not {list(self.regions)}")
        if self.model.keep and self.model.start is None:
            raise ValueError(f"model.keep is {self.model.keep:g}, but there is no model.start to keep weights of")
        learnt = {region for data in self.data for region in data.regions}
        learnt |= {"border"} if any(data.derive == "border" for data in self.data) else set()
        learnt |= {ours for teacher in self.teachers for ours in teacher.regions.values()}
        if missing := [region for region in self.regions if region not in learnt]:
            raise ValueError(f"no set and no teacher labels {', '.join(missing)}: add one, or drop it from the heads")
        if (share := sum(teacher.weight for teacher in self.teachers if teacher.use == "distil")) > 1:
            raise ValueError(f"the weights of teachers that distil add up to {share:g}: at most 1, labels get the rest")
        titles = [data.title for data in self.data]
        if twice := sorted({title for title in titles if titles.count(title) > 1}):
            raise ValueError(f'two sets are called {", ".join(twice)}: give each of them a name = "..." of its own')
        known = {*titles} | {clip.title for clip in self.clips}
        for teacher in self.teachers:
            if strangers := sorted(set(teacher.sets) - known):
                raise ValueError(f"teacher {teacher.model!r} names {strangers}, known sets are {sorted(known)}")
        return self


def read_recipe(path: Path) -> Recipe:
    """The recipe in a TOML file; relative paths start at its folder, ${NAME} is the environment's.

    Raises ConfigError for what cannot be read, is no TOML, or is no recipe.
    """
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
        recipe = Recipe.model_validate(_with_places(values, path))
    except OSError as error:
        raise ConfigError(f"the recipe {path} cannot be read: {error.strerror or error}") from error
    except ValidationError as error:
        raise ConfigError(f"{path} is not a recipe: {'; '.join(map(_problem, error.errors()))}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not a TOML file: {error}") from error
    recipe._text = _text(values)
    return recipe


def _text(values: Mapping[str, Any]) -> str:
    """What trains, as text."""
    heads = [{key: value for key, value in head.items() if key != "shift"} for head in values["heads"]]
    model = {key: value for key, value in values["model"].items() if key != "keep"}
    return json.dumps({**values, "model": model, "heads": heads, "card": None}, sort_keys=True, default=str)


def _problem(error: ErrorDetails) -> str:
    """Field, what is wrong, and the value where that is short."""
    field, value = ".".join(map(str, error["loc"])) or "recipe", error["input"]
    plain = isinstance(value, str | int | float | bool) and error["type"] != "value_error"
    return f"{field}: {error['msg']}{f', not {value!r}' if plain else ''}"


_PATHS = {"folder", "file", "path", "start"}


def _with_places(values: Any, file: Path) -> Any:
    """The values of a TOML file with every path made absolute."""
    if isinstance(values, list):
        return [_with_places(value, file) for value in values]
    if not isinstance(values, dict):
        return values
    made = {key: _with_places(value, file) for key, value in values.items()}
    if isinstance(members := made.get("members"), list):
        made["members"] = [place(member, file) if isinstance(member, str) else member for member in members]
    for key in _PATHS & set(made):
        if isinstance(made[key], str):
            made[key] = place(made[key], file)
    if isinstance(checkpoint := made.get("checkpoint"), str):  # an id of the hub looks like a relative path
        local = place(checkpoint, file)
        made["checkpoint"] = local if Path(local).is_dir() else checkpoint
    return made
