"""Videos whose alpha is exactly known: a cutout that moves before a backdrop, as a webcam would send it.

A frame is P + (1 - a) B: P, the light that comes from the person, and a are integrals over the exposure of the moving
cutout's colour times alpha, and of its alpha; B is the backdrop. Then come the exposure's drift, the sensor's noise,
4:2:0 and, for most scenes, H.264 and back. The alpha stays that of the first step.
"""

from __future__ import annotations

import io
import math
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal, TypeAlias

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.quality_people import BACKDROPS, PEOPLE, Cutout, Person
from rtseg.frame import BT709
from rtseg.ops.arrays import F32, U8, as_f32, as_u8
from rtseg.types import Frame, Size

Motion: TypeAlias = Literal["still", "translate", "scale", "rotate", "wave", "arm"]
Character: TypeAlias = Literal["still", "smooth", "fast", "stop-and-go"]

RATE = 30
WIDTH = 1280.0
"""Lengths and speeds of motions are in pixels of frames that are so wide, whatever the size that is rendered."""
SHUTTER = 0.5
"""Share of a frame's time that the exposure takes."""
CHECKED = 4
"""Each so many frames P and B are kept, for composites with other backgrounds."""
SPEED_STEP = 4
"""How much smaller than a frame the map of speeds is, each way."""
_LEVER = 560.0  # from the pivot, at the lower edge, to the head
_UNCHANGED = 1
_SAMPLES = 16


@dataclass(frozen=True, slots=True)
class Scene:
    """A video as data. noise: sigma in levels. drift: of the exposure, as a share. bitrate: at 640x360, 0 for none."""

    name: str
    motion: Motion
    character: Character
    person: Person
    backdrop: str
    noise: float = 2.0
    drift: float = 0.0
    bitrate: int = 0
    frames: int = 48
    seed: int = 0


@dataclass(frozen=True, eq=False)
class Shot:
    """A scene rendered. frames: as the camera sends them. alphas: uint8 NxHxW, the truth.

    speeds: uint8 N x H/4 x W/4, how far what is or just was there moved since the frame before, in pixels of a frame
    1280 wide. still: boolean NxHxW, where neither subject nor backdrop changed since then. subjects, backdrops: P and B
    of every `CHECKED`-th frame, uint8 RGB, the exposure's drift applied.
    """

    name: str
    motion: str
    frames: Sequence[Frame]
    alphas: U8
    speeds: U8
    still: NDArray[np.bool_]
    subjects: U8
    backdrops: U8


_KINDS: tuple[tuple[Motion, Character], ...] = (
    ("still", "still"),
    ("translate", "fast"),
    ("wave", "smooth"),
    ("arm", "stop-and-go"),
    ("still", "still"),
    ("rotate", "fast"),
    ("translate", "stop-and-go"),
    ("scale", "smooth"),
    ("arm", "fast"),
    ("translate", "smooth"),
    ("wave", "stop-and-go"),
    ("scale", "fast"),
    ("still", "still"),
    ("rotate", "smooth"),
    ("wave", "fast"),
    ("arm", "smooth"),
    ("rotate", "stop-and-go"),
    ("scale", "stop-and-go"),
    ("still", "still"),
    ("translate", "fast"),
    ("arm", "fast"),
    ("wave", "smooth"),
    ("rotate", "fast"),
    ("translate", "stop-and-go"),
)


def scenes(count: int, *, frames: int = 48) -> list[Scene]:
    """The first scenes of the list, which has each motion early; people, backdrops and faults come in turn."""
    made = []
    for index, (motion, character) in enumerate(_KINDS[:count]):
        made.append(
            Scene(
                f"{index + 1:02d}-{motion}" + ("" if character == "still" else f"-{character}"),
                motion,
                character,
                PEOPLE[index % len(PEOPLE)],
                BACKDROPS[(index + index // len(BACKDROPS)) % len(BACKDROPS)],
                noise=(1.5, 3.0, 5.0)[index % 3],
                drift=0.12 if index % 4 == 2 else 0.0,
                bitrate=0 if index % 3 == 1 else 700_000,
                frames=frames,
                seed=index,
            )
        )
    return made


def progress(character: Character, time: float) -> float:
    """Where a motion is at a time in frames, about -1..1; with amplitudes of `amplitude` its speeds are as named."""
    match character:
        case "still":
            return 0.0
        case "smooth":
            return math.sin(2.0 * math.pi * time / 80.0)
        case "fast":
            return math.sin(2.0 * math.pi * time / 24.0)
        case "stop-and-go":  # eight frames of motion, then eight of rest, there and back
            turn, rest = divmod(time, 16.0)
            share = min(max((rest - 8.0) / 8.0, 0.0), 1.0)
            eased = share * share * (3.0 - 2.0 * share)
            return (1.0 if turn % 2 else -1.0) * (1.0 - 2.0 * eased)


def amplitude(character: Character) -> float:
    """Pixels of a frame 1280 wide: speeds reach 13 (smooth), 40 (fast) and 38 (stop-and-go) a frame."""
    return {"still": 0.0, "smooth": 160.0, "fast": 152.0, "stop-and-go": 100.0}[character]


def sources(scene: Scene, cutout: Cutout, size: Size, time: float, *, step: int = 1) -> F32:
    """Where in the cutout each pixel of the frame comes from at a time in frames: float32 HxWx2, x and y.

    step: only each so many-th row and column.
    """
    unit = size.width / WIDTH
    y, x = np.mgrid[0 : size.height : step, 0 : size.width : step].astype(np.float32)
    moved = amplitude(scene.character) * progress(scene.character, time) * unit
    x -= (size.width - 1) / 2.0
    y -= size.height - 0.5
    match scene.motion:
        case "still":
            pass
        case "translate":
            x -= moved
            y += 0.12 * abs(moved)
        case "scale":
            factor = math.exp(-moved / (_LEVER * unit))
            x *= factor
            y *= factor
        case "rotate":
            angle = moved / (_LEVER * unit)
            x, y = math.cos(angle) * x + math.sin(angle) * y, math.cos(angle) * y - math.sin(angle) * x
        case "wave":  # rows slide: nothing folds
            x -= 0.4 * moved * np.sin(2.0 * np.pi * y / (520.0 * unit) + 0.9)
        case "arm":  # a part at the side swings, as far as nothing folds
            near = np.exp(-((x + 190.0 * unit) ** 2 + (y + 240.0 * unit) ** 2) / (2.0 * (150.0 * unit) ** 2))
            x -= 0.9 * moved * near
            y += 0.5 * moved * near
    return as_f32(np.dstack([x + cutout.anchor[0], y + cutout.anchor[1] - 0.5]).astype(np.float32))


def exposed(scene: Scene, cutout: Cutout, size: Size, index: int) -> tuple[F32, F32]:
    """P, float32 HxWx3, 0..255, and the alpha, float32 HxW, 0..1, of one frame: means over the exposure."""
    lit = as_f32(np.dstack([cutout.colour * cutout.alpha[..., None], cutout.alpha]))
    fastest = float(_speeds(scene, cutout, size, index + SHUTTER / 2, SHUTTER).max(initial=0.0))
    count = 1 if fastest < 0.05 else int(min(_SAMPLES, max(3, math.ceil(fastest))))
    total = np.zeros((size.height, size.width, 4), np.float32)
    for part in range(count):
        time = index + SHUTTER * ((part + 0.5) / count - 0.5)
        where = sources(scene, cutout, size, time)
        total += cv2.remap(lit, where, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)  # type: ignore[call-overload]
    total /= count
    return as_f32(total[..., :3]), as_f32(total[..., 3])


def render(scene: Scene, cutout: Cutout, backdrop: Sequence[U8], size: Size) -> Shot:
    """All frames of a scene with their truth. backdrop: one picture RGB that stands still, or one a frame."""
    chance = np.random.default_rng([scene.seed, zlib.crc32(scene.name.encode())])
    pictures: list[U8] = []
    alphas, speeds, still, subjects, backdrops = [], [], [], [], []
    before: tuple[U8, U8] | None = None
    around = np.ones((2 * (size.width // 128) + 1,) * 2, np.uint8)
    for index in range(scene.frames):
        light, alpha = exposed(scene, cutout, size, index)
        behind = backdrop[index % len(backdrop)]
        clean = composed(light, alpha, behind)
        gain = 1.0 + scene.drift * math.sin(2.0 * math.pi * index / 50.0)
        pictures.append(_sensed(clean, gain, scene.noise, chance))
        alphas.append(levels(255.0 * alpha))
        speed = _speeds(scene, cutout, size, index - 0.5, 1.0) * (WIDTH / size.width)
        speeds.append(levels(speed))
        now = levels(clean), alphas[-1]
        still.append(np.zeros(alpha.shape, bool) if before is None else _unchanged(before, now, around))
        before = now
        if index % CHECKED == 0:
            subjects.append(levels(light * gain))
            backdrops.append(levels(behind.astype(np.float32) * gain))
    frames = [
        Frame.from_rgb(rgb, colour=BT709, index=i, pts=i, time_base=Fraction(1, RATE)) for i, rgb in enumerate(pictures)
    ]
    if scene.bitrate:
        frames = list(sent(frames, round(scene.bitrate * size.width * size.height / (640 * 360) * 0.75)))
    stacks = (np.stack(alphas), np.stack(speeds), np.stack(still), np.stack(subjects), np.stack(backdrops))
    return Shot(scene.name, scene.motion, frames, *stacks)


def composed(light: F32, alpha: F32, behind: U8) -> F32:
    """P + (1 - a) B, float32 HxWx3, 0..255."""
    return as_f32(light + (1.0 - alpha[..., None]) * behind.astype(np.float32))


def levels(values: F32) -> U8:
    """Rounded to 0..255."""
    return as_u8(np.clip(np.rint(values), 0.0, 255.0).astype(np.uint8))


def sent(frames: Sequence[Frame], bitrate: int) -> Iterator[Frame]:
    """The frames after H.264 as calls use it: no B-frames, one key frame, `bitrate` in bits a second."""
    width, height = frames[0].size
    memory = io.BytesIO()
    options = {"preset": "veryfast", "tune": "zerolatency", "threads": "1", "g": "300"}
    with av.open(memory, "w", format="matroska") as container:
        stream = container.add_stream("libx264", rate=RATE, options=options)
        stream.width, stream.height, stream.pix_fmt, stream.bit_rate = width, height, "yuv420p", bitrate
        for index, frame in enumerate(frames):
            stacked = np.concatenate([plane.reshape(-1) for plane in frame.planes]).reshape(-1, width)
            picture = av.VideoFrame.from_ndarray(stacked, format="yuv420p")
            picture.pts, picture.time_base = index, Fraction(1, RATE)
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
    memory.seek(0)
    with av.open(memory, "r") as written:
        for frame, decoded in zip(frames, written.decode(video=0), strict=True):
            y, u, v = np.split(
                as_u8(decoded.to_ndarray(format="yuv420p")).reshape(-1), [width * height, width * height * 5 // 4]
            )
            half = (height // 2, width // 2)
            yield frame.with_planes((y.reshape(height, width), u.reshape(half), v.reshape(half)))


def _speeds(scene: Scene, cutout: Cutout, size: Size, middle: float, span: float) -> F32:
    """How far the cutout moves under each pixel within a span of frames, in pixels of the frame, at a quarter of it."""
    ends = [sources(scene, cutout, size, middle + sign * span / 2, step=SPEED_STEP) for sign in (-1.0, 1.0)]
    return as_f32(np.hypot(*np.moveaxis(ends[1] - ends[0], 2, 0)))


def _sensed(clean: F32, gain: float, noise: float, chance: np.random.Generator) -> U8:
    """What the sensor makes of light: more noise where there is more of it."""
    bright = clean * gain
    sigma = noise * (0.6 + 0.4 * bright / 255.0)
    return levels(as_f32(bright + sigma * chance.standard_normal(bright.shape, np.float32)))


def _unchanged(before: tuple[U8, U8], now: tuple[U8, U8], around: U8) -> NDArray[np.bool_]:
    """Where picture and alpha are as they were, at a pixel and all around it: a network sees further than a pixel."""
    picture = cv2.absdiff(before[0], now[0]).max(axis=2)
    alpha = cv2.absdiff(before[1], now[1])
    changed = ((picture > _UNCHANGED) | (alpha > _UNCHANGED)).astype(np.uint8)
    return np.asarray(cv2.dilate(changed, around) == 0)
