"""Model cards: a TOML file per model says what the weights are, where they come from and how to feed them."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import quote, urlsplit

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, ValidationError, model_validator

from rtseg.errors import ModelNotFound, ModelRejected
from rtseg.ops.colour import Matrix
from rtseg.ops.queries import Kind as QueryKind

Triple = tuple[float, float, float]
Positive = Annotated[float, Field(gt=0)]
Side = Annotated[int, Field(gt=0, le=8192)]
Name = Annotated[str, Field(pattern=r"^[^/\\\x00-\x1f\x7f]{1,64}$")]  # names end up in the names of files
Task = Literal["semantic", "instance", "panoptic"]
Share = Annotated[float, Field(ge=0, le=1)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
GraphFile = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*\.onnx$")]
BesideFile = Annotated[str, Field(pattern=r"^[^./\\:\x00-\x1f\x7f][^/\\:\x00-\x1f\x7f]{0,254}$")]
Https = Annotated[str, Field(pattern=r"^https://")]
TokenFile = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*\.(json|txt)$")]


BORDER = "border"
"""The region of the "touching" family that is no name: where two objects meet."""


class CardInput(BaseModel):
    """How a picture becomes the input tensor: float32 1x3xHxW, (pixel / scale - mean) / std per channel.

    size: width, height. colour: what the channels are, for "yuv" in `matrix` and `full_range`. fit: "stretch", or
    "letterbox" (kept aspect, padded with `pad`, a pixel value 0..255). anchor: where a letterboxed picture lies, in the
    "centre" or in the top left "corner".
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
    name: str
    size: tuple[Side, Side]
    colour: Literal["rgb", "bgr", "yuv"] = "rgb"
    matrix: Matrix = "bt601"
    full_range: bool = True
    fit: Literal["stretch", "letterbox"] = "stretch"
    anchor: Literal["centre", "corner"] = "centre"
    pad: Annotated[int, Field(ge=0, le=255)] = 114
    scale: Positive = 255.0
    mean: Triple = (0.0, 0.0, 0.0)
    std: tuple[Positive, Positive, Positive] = (1.0, 1.0, 1.0)

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Of the input tensor: 1, 3, height, width."""
        width, height = self.size
        return 1, 3, height, width


class CardOutput(BaseModel):
    """What one output tensor, 1xCxHxW, means.

    activation: what is still missing to make probabilities of it; "minmax" stretches a channel from its least to its
    greatest value, as saliency networks are used, so that each picture has something white in it. regions: region
    name -> channel ("regions", "recurrent" and "touching" families); a channel that no region names (background) is
    dropped. The "semantic" family has one output, whose channels are the card's `names` in order, and no regions; the
    "prompted" family has one, NxHxW for N prompts, and none. The "yolo" and "yolox" families have the output of rows,
    then that of mask prototypes ("yolo" only, if the network has them), and neither has regions.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    name: str
    activation: Literal["none", "sigmoid", "softmax", "minmax"] = "none"
    regions: dict[str, Annotated[int, Field(ge=0)]] = {}


class CardDetection(BaseModel):
    """Which of a detector's boxes count, for the "yolo" and "yolox" families.

    score: what a box must score, exclusive. overlap: of two boxes of one class with a greater IoU the better is kept.
    most: how many are kept, the best.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    score: Annotated[float, Field(ge=0, lt=1)] = 0.25
    overlap: Annotated[float, Field(ge=0, le=1)] = 0.7
    most: Annotated[int, Field(gt=0, le=1000)] = 300


class CardQueries(BaseModel):
    """How a network of the "queries" family says its segments, and which of them count.

    kind: whose rules `rtseg.ops.queries` applies. classes, masks: the outputs with class logits, 1xQx(C+1), "no object"
    last, and mask logits, 1xQxhxw. task: what is made of them. threshold: the score that a segment must exceed.
    mask_threshold, overlap_mask_area_threshold: see `rtseg.ops.queries.Thresholds`. fuse: names whose segments are
    one, such as sky ("panoptic"). overlapping: whether instances are whole where others cover them, for kinds that
    let them. resolution: where segments are decided, at the size of the network's masks or of the frame. tokens: task
    -> what a network that is told its task takes in its input `tokens_input`, int64 1xN; empty for all others.
    pixel_mask: the input, 1xHxW, that says where the picture is (1) and where padding (0); None where there is none.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
    kind: QueryKind
    classes: str
    masks: str
    task: Task = "panoptic"
    threshold: Share = 0.5
    mask_threshold: Share = 0.5
    overlap_mask_area_threshold: Share = 0.8
    fuse: tuple[Name, ...] = ()
    overlapping: bool = False
    resolution: Literal["masks", "frame"] = "masks"
    tokens_input: str = "task_inputs"
    tokens: dict[Task, Annotated[tuple[Annotated[int, Field(ge=0)], ...], Field(min_length=1)]] = {}
    pixel_mask: str | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.tokens and self.task not in self.tokens:
            raise ValueError(f"tokens has none for the task {self.task!r}, only for {sorted(self.tokens)}")
        return self


class CardText(BaseModel):
    """The half of a "prompted" model that reads: words to the vector that the graph of pictures takes beside its input.

    file: an ONNX graph of its own, from `ids` and `mask` (int64 1xlength) to `output` (float32 1xwidth). tokenizer:
    file -> sha256 of one `tokenizer.json`, or of a vocabulary (.json) and its merges (.txt) as CLIP has them.
    condition: the input of the graph of pictures that takes such vectors, float32 Nxwidth for N prompts.

    Without `file` the graph of pictures reads by itself: it takes `ids` and `mask` beside the picture, and is run for
    each prompt; `width`, `output` and `condition` mean nothing then.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    file: GraphFile | None = None
    sha256: Sha256 | None = None
    tokenizer: Annotated[dict[TokenFile, Sha256], Field(min_length=1, max_length=2)]
    width: Annotated[int, Field(gt=0, le=65536)] | None = None
    length: Annotated[int, Field(ge=3, le=4096)] = 77
    ids: str = "input_ids"
    mask: str = "attention_mask"
    output: str = "conditional_embeddings"
    condition: str = "conditional_embeddings"

    @model_validator(mode="after")
    def _tokenizer_is_whole(self) -> Self:
        if sorted(Path(name).suffix for name in self.tokenizer) not in ([".json"], [".json", ".txt"]):
            raise ValueError(
                f"tokenizer names one .json, or a vocabulary (.json) and its merges (.txt), not {list(self.tokenizer)}"
            )
        if len({self.file is None, self.sha256 is None, self.width is None}) > 1:
            raise ValueError("a graph of the text has file, sha256 and width; one graph for all has none of them")
        return self

    @property
    def inputs(self) -> tuple[str, ...]:
        """What the graph of pictures takes besides the picture."""
        return (self.ids, self.mask) if self.file is None else (self.condition,)


class CardRecurrent(BaseModel):
    """What a "recurrent" graph remembers from frame to frame.

    states: input -> the output that becomes this input at the next frame; zeros at first. constants: input -> the one
    number that it always holds.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
    states: Annotated[dict[str, str], Field(min_length=1)]
    constants: dict[str, float] = {}


class Card(BaseModel):
    """Everything about a model but its weights.

    name: what `--model` takes. file: name of the weights, beside the card or in a searched folder. sha256: of the
    weights, 64 hexadecimal digits. licence: of the weights. source: who made them, from what. url: where they can be
    had, None if nowhere. urls: file -> address of the model's other files, where they do not lie beside `url`. data:
    what they were trained on, with its terms. recipe: SHA-256 of what they were trained by, for our own. detection:
    thresholds of detectors. names: of the regions or classes, in order. palette: name -> "#rrggbb". metrics: published
    or measured figures. external: file -> sha256 of weights that the graph keeps outside itself, beside it; usually
    none. queries: of the "queries" family, and of no other. text: of the "prompted" family, whose names are the prompts
    that it begins with. recurrent: of the family of that name. lighter: a model for the same that
    costs less, which live streams use while the machine is too slow for this one.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]*$")]
    description: str
    family: Literal["regions", "semantic", "touching", "yolo", "yolox", "queries", "recurrent", "prompted"]
    file: GraphFile
    sha256: Sha256
    licence: str
    source: str
    url: Https | None = None
    urls: dict[str, Https] = {}
    data: str = ""
    recipe: str = ""
    input: CardInput
    outputs: Annotated[tuple[CardOutput, ...], Field(min_length=1)]
    detection: CardDetection = CardDetection()
    names: Annotated[tuple[Name, ...], Field(min_length=1)]
    palette: dict[str, Annotated[str, Field(pattern=r"^#[0-9a-f]{6}$")]] = {}
    metrics: dict[str, float | str] = {}
    external: dict[BesideFile, Sha256] = {}
    queries: CardQueries | None = None
    text: CardText | None = None
    recurrent: CardRecurrent | None = None
    lighter: str | None = None
    _folder: Path | None = PrivateAttr(default=None)
    _beside: Path | None = PrivateAttr(default=None)

    @property
    def folder(self) -> Path | None:
        """Where the card was read from; None for a card made in memory."""
        return self._folder

    @property
    def folders(self) -> tuple[Path, ...]:
        """Where its files are sought first; a hub's layout has its tokenizer and its graph in two."""
        return tuple(folder for folder in (self._folder, self._beside) if folder is not None)

    @property
    def inputs(self) -> frozenset[str]:
        """Names of everything that the graph takes."""
        told = {self.queries.tokens_input} if self.queries is not None and self.queries.tokens else set()
        return frozenset({self.input.name, *told, *self.other_inputs})

    @property
    def files(self) -> dict[str, str]:
        """Every file of the model but `external` ones, with its SHA-256; the weights first."""
        files = {self.file: self.sha256}
        if self.text is not None:
            if self.text.file is not None and self.text.sha256 is not None:
                files[self.text.file] = self.text.sha256
            files |= self.text.tokenizer
        return files

    def address_of(self, file: str) -> str | None:
        """Where one of `files` or `external` can be had: its own address, else beside the weights; None if nowhere."""
        if file == self.file or file in self.urls or self.url is None:
            return self.urls.get(file, self.url)
        parts = urlsplit(self.url)
        return parts._replace(path=f"{parts.path.rpartition('/')[0]}/{quote(file)}").geturl()

    @property
    def other_inputs(self) -> frozenset[str]:
        """The inputs that the graph has besides the picture."""
        recurrent = () if self.recurrent is None else (*self.recurrent.states, *self.recurrent.constants)
        mask = () if self.queries is None or self.queries.pixel_mask is None else (self.queries.pixel_mask,)
        return frozenset((*recurrent, *mask, *(() if self.text is None else self.text.inputs)))

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if len(set(self.names)) != len(self.names):
            raise ValueError(f"names must differ from each other, not {list(self.names)}")
        if strangers := sorted(set(self.palette) - set(self.names)):
            raise ValueError(f"palette names {strangers}, which are not among names {list(self.names)}")
        if strangers := sorted(set(self.urls) - set(self.files) - set(self.external)):
            raise ValueError(f"urls names {strangers}, which are no files of the model")
        regions = [region for output in self.outputs for region in output.regions]
        if (self.text is not None) != (self.family == "prompted"):
            raise ValueError('the family "prompted", and no other, has a table [text]')
        if (self.recurrent is not None) != (self.family == "recurrent"):
            raise ValueError('the family "recurrent", and no other, has a table [recurrent]')
        if self.family == "prompted" and (len(self.outputs) != 1 or regions):
            raise ValueError('the family "prompted" has exactly one output and no regions')
        if self.family == "semantic" and (len(self.outputs) != 1 or regions):
            raise ValueError('the family "semantic" has exactly one output and no regions')
        if self.family == "touching" and (len(self.names) != 1 or sorted(regions) != sorted((*self.names, BORDER))):
            raise ValueError(f'the family "touching" has one name and the regions of that name and "{BORDER}"')
        if self.family in ("yolo", "yolox") and (regions or len(self.outputs) > (2 if self.family == "yolo" else 1)):
            raise ValueError(
                'the family "yolo" has an output of rows and may have one of prototypes, "yolox" has one of rows; '
                "neither has regions"
            )
        if (self.family == "queries") != (self.queries is not None):
            raise ValueError('the family "queries" has a table [queries], and no other family has')
        if self.queries is not None:
            self._check_queries(self.queries, regions)
        if self.family in ("regions", "recurrent") and sorted(regions) != sorted(self.names):
            raise ValueError(f"each of names {list(self.names)} must be a region of one output, not {regions}")
        return self

    def _check_queries(self, queries: CardQueries, regions: list[str]) -> None:
        found = sorted(output.name for output in self.outputs)
        if regions or found != sorted((queries.classes, queries.masks)):
            wanted = f"{queries.classes!r} and {queries.masks!r}"
            raise ValueError(f'the family "queries" has the outputs {wanted}, without regions, not {found}')
        if self.input.fit != "stretch":
            raise ValueError(f'the family "queries" takes fit = "stretch", not {self.input.fit!r}')
        if strangers := sorted(set(queries.fuse) - set(self.names)):
            raise ValueError(f"queries.fuse has {strangers}, which are not among names")


def read_card(path: Path) -> Card:
    """The card in a TOML file; `ModelNotFound` where there is none, `ModelRejected` for what is no card."""
    try:
        card = Card.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise ModelNotFound(f"the card {path} cannot be read: {error.strerror or error}") from error
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'card'}: {e['msg']}" for e in error.errors())
        raise ModelRejected(f"{path} is not a model card: {problems}") from error
    except ValueError as error:  # TOML syntax, or bytes that are not UTF-8
        raise ModelRejected(f"{path} is not a TOML file: {error}") from error
    card._folder = path.resolve().parent
    return card
