"""The tables of a configuration: one class for each component of ours, with the options that users set."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from rtseg.cards import Share, Task
from rtseg.edge_options import EdgeOptions
from rtseg.families import QUERY_OPTIONS
from rtseg.store import clean_path
from rtseg.subject import Who

AnyPath: TypeAlias = Annotated[Path, AfterValidator(clean_path)]
NonNegative: TypeAlias = Annotated[float, Field(ge=0)]
Positive: TypeAlias = Annotated[int, Field(gt=0)]
Byte: TypeAlias = Annotated[int, Field(ge=0, le=255)]
PresetName: TypeAlias = Literal["fast", "balanced", "studio", "auto"]
Rgb: TypeAlias = Annotated[str, Field(pattern=r"^#[0-9a-fA-F]{6}$")]


class Section(BaseModel):
    """A table: unknown keys are errors, values do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    def options(self) -> dict[str, Any]:
        """What was set, for the component's constructor."""
        return {key: getattr(self, key) for key in self.model_fields_set - {"type"} if getattr(self, key) is not None}


class VideoSource(Section):
    """A video file; start and end in seconds of its own time; hardware: what decodes it, "none", "auto" or a device."""

    type: Literal["video"] = "video"
    path: AnyPath
    start: NonNegative | None = None
    end: NonNegative | None = None
    max_pixels: Positive | None = None
    threads: Positive | None = None
    hardware: str | None = None


class ImageSource(Section):
    """Image files and folders, as the frames of a stream."""

    type: Literal["images"] = "images"
    paths: tuple[AnyPath, ...] = Field(min_length=1)
    rate: Annotated[float, Field(gt=0)] | None = None
    max_pixels: Positive | None = None


class SyntheticSource(Section):
    """A test pattern: an FFmpeg filter graph such as "testsrc2=size=1280x720:rate=30"."""

    type: Literal["synthetic"] = "synthetic"
    graph: str
    frames: Positive | None = None
    live: bool | None = None


class SampleSource(Section):
    """The built-in sample clip."""

    type: Literal["sample"] = "sample"
    seconds: Annotated[float, Field(gt=0)] | None = None
    size: tuple[Positive, Positive] | None = None
    rate: Positive | None = None
    seed: int | None = None


Seconds: TypeAlias = Annotated[float, Field(gt=0)]


class StreamSource(Section):
    """Live video of the network; attempts: openings that may fail before the first frame, None for ever."""

    type: Literal["stream"] = "stream"
    url: str
    transport: Literal["tcp", "udp"] | None = None
    listen: bool | None = None
    open_timeout: Seconds | None = None
    read_timeout: Seconds | None = None
    attempts: Positive | None = None
    max_pixels: Positive | None = None
    threads: Positive | None = None


class CameraSource(Section):
    """A camera, by number or name; size, rate and format are what is wanted of it."""

    type: Literal["camera"] = "camera"
    device: Annotated[int, Field(ge=0)] | str | None = None
    size: tuple[Positive, Positive] | None = None
    rate: Annotated[float, Field(gt=0)] | None = None
    format: str | None = None
    open_timeout: Seconds | None = None
    read_timeout: Seconds | None = None
    attempts: Positive | None = None


class ScreenSource(Section):
    """What the screen shows, or a part of it."""

    type: Literal["screen"] = "screen"
    display: str | None = None
    size: tuple[Positive, Positive] | None = None
    offset: tuple[Annotated[int, Field(ge=0)], Annotated[int, Field(ge=0)]] | None = None
    rate: Annotated[float, Field(gt=0)] | None = None
    cursor: bool | None = None
    open_timeout: Seconds | None = None
    read_timeout: Seconds | None = None
    attempts: Positive | None = None


Window: TypeAlias = Literal["lung", "bone", "soft"] | tuple[float, Annotated[float, Field(ge=1)]]


class DicomSource(Section):
    """A DICOM file, or the folder of a series; window: a preset, or centre and width."""

    type: Literal["dicom"] = "dicom"
    path: AnyPath
    series: int | None = None
    window: Window | None = None
    rate: Annotated[float, Field(gt=0)] | None = None
    max_pixels: Positive | None = None


class NiftiSource(Section):
    """A NIfTI volume, cut into slices; plane: how, None for that of the finest pixels."""

    type: Literal["nifti"] = "nifti"
    path: AnyPath
    plane: Literal["axial", "coronal", "sagittal"] | None = None
    volume: Annotated[int, Field(ge=0)] | None = None
    window: Window | None = None
    percentiles: tuple[Annotated[float, Field(ge=0, le=100)], Annotated[float, Field(ge=0, le=100)]] | None = None
    rate: Annotated[float, Field(gt=0)] | None = None
    max_pixels: Positive | None = None


class ModelOptions(Section):
    """A card's name or path, a folder, or a hub's "owner/name"; providers best first, or "auto" alone; timeout in
    seconds a frame.

    adaptive: whether frames that hardly differ from an earlier one take its mask. every: so many frames have the mask
    of their first. focus: whether the network of a matte sees the part of the frame where the subject is. views: 2 for
    the whole frame and that part, averaged, 4 for both mirrored too. subject, keep_held: of the filter "subject".
    fused: whether whole frames are made by one graph; None for where the network runs on a device and it can be. half:
    16-bit floats, with TensorRT. device: which GPU, from 0. cuda_graph: whether a GPU replays its kernels as one; not
    where a test shows it cannot. score: what a detector's box must score, in place of the card's. prompts: what a model
    that reads looks for, in place of what its card names. task, threshold, mask_threshold, overlap_mask_area_threshold:
    as in `rtseg.segment`; which of them a model has, its family says (`rtseg.families`). preset: of `rtseg.presets`.
    """

    name: str = "portrait"
    providers: tuple[str, ...] | None = None
    threads: Positive | None = None
    adaptive: bool | None = None
    every: Positive | None = None
    focus: bool | None = None
    views: Literal[1, 2, 4] | None = None
    preset: PresetName | None = None
    subject: Who | None = None
    keep_held: bool | None = None
    fused: bool | None = None
    timeout: Annotated[float, Field(gt=0)] | None = None
    half: bool | None = None
    device: Annotated[int, Field(ge=0)] | None = None
    cuda_graph: bool | None = None
    score: Annotated[float, Field(ge=0, lt=1)] | None = None
    prompts: Annotated[tuple[str, ...], Field(min_length=1)] | None = None
    task: Task | None = None
    threshold: Share | None = None
    mask_threshold: Share | None = None
    overlap_mask_area_threshold: Share | None = None

    @property
    def shares(self) -> dict[str, float | None]:
        """The thresholds of segments by name, None for those that nobody asked for."""
        return {name: getattr(self, name) for name in sorted(QUERY_OPTIONS)}


class MeasureAnalyzer(Section):
    """Counts and areas of what was found; spacing: width and height of a pixel in mm, where no header says it."""

    type: Literal["measure"] = "measure"
    names: tuple[str, ...] | None = None
    spacing: tuple[Annotated[float, Field(gt=0)], Annotated[float, Field(gt=0)]] | None = None
    smallest: Positive | None = None
    objects: bool | None = None


class LanesAnalyzer(Section):
    """Lane lines on the road, and the vehicle in its lane.

    calibration: a file. height, vehicle_width: metres. fov, pitch, yaw: degrees. region: whose mask has the lines.
    """

    type: Literal["lanes"] = "lanes"
    calibration: AnyPath | None = None
    height: Annotated[float, Field(gt=0.2, lt=6)] | None = None
    fov: Annotated[float, Field(gt=5, lt=170)] | None = None
    pitch: Annotated[float, Field(ge=-45, le=45)] | None = None
    yaw: Annotated[float, Field(ge=-45, le=45)] | None = None
    vehicle_width: Annotated[float, Field(gt=0.5, lt=4)] | None = None
    region: str | None = None


class GpsAnalyzer(Section):
    """Where the vehicle is, by a log (GPX, NMEA, SRT); offset: seconds of the video's time at which the log begins."""

    type: Literal["gps"] = "gps"
    path: AnyPath
    offset: float | None = None


class ObstaclesAnalyzer(Section):
    """Obstacles on the road, followed, and their events.

    fov, pitch: of the camera, degrees; height: metres over the road. detector: a second model for every `every`-th
    frame. keep: seconds that something hidden keeps its number.
    """

    type: Literal["obstacles"] = "obstacles"
    fov: Annotated[float, Field(ge=10, le=170)] | None = None
    height: Annotated[float, Field(ge=0.2, le=5)] | None = None
    pitch: Annotated[float, Field(ge=-45, le=45)] | None = None
    detector: ModelOptions | None = None
    every: Positive | None = None
    keep: NonNegative | None = None


class BackgroundEffect(EdgeOptions, Section):
    """What is painted over all but the regions: blur, bokeh, a picture, a video, #rrggbb or transparent."""

    type: Literal["background"] = "background"
    paint: str
    regions: tuple[str, ...] | None = None


class OverlayEffect(Section):
    """Colours and a legend over regions and classes; preset "road" chooses names and colours for driving.

    tags: names and scores beside instances, in place of the legend; None for where a detector finds them.
    """

    type: Literal["overlay"] = "overlay"
    preset: Literal["road"] | None = None
    names: tuple[str, ...] | None = None
    palette: dict[str, Rgb] | None = None
    opacity: Annotated[float, Field(ge=0, le=1)] | None = None
    lines: tuple[str, ...] | None = None
    legend: bool | None = None
    tags: bool | None = None
    partial: bool | None = None


class OutlineEffect(Section):
    """A line around regions and classes; width in percent of the frame's height."""

    type: Literal["outline"] = "outline"
    names: tuple[str, ...] | None = None
    rgb: tuple[Byte, Byte, Byte] | None = None
    width: Annotated[float, Field(gt=0, le=5)] | None = None


class HudEffect(Section):
    """What analyzers saw of the road, over the picture; every part can be left out."""

    type: Literal["hud"] = "hud"
    theme: Literal["day", "night", "contrast"] | None = None
    carpet: bool | None = None
    lines: bool | None = None
    masks: bool | None = None
    boxes: bool | None = None
    plates: bool | None = None
    horizon: bool | None = None
    inset: bool | None = None
    banner: bool | None = None
    clock: bool | None = None
    speed: bool | None = None
    offset: bool | None = None
    pace: bool | None = None


class VideoSink(Section):
    """A video file; codec is NAME[:key=value,...]; clock: times of the clock, None for live input alone."""

    type: Literal["video"] = "video"
    path: AnyPath
    codec: str | None = None
    audio: bool | None = None
    clock: bool | None = None


class ImageSink(Section):
    """A folder with an image for each frame, named after `names` or numbered."""

    type: Literal["images"] = "images"
    folder: AnyPath
    format: str | None = None
    names: tuple[str, ...] | None = None


class MaskSink(Section):
    """A folder with PNG masks for each frame, named after `names` or numbered."""

    type: Literal["masks"] = "masks"
    folder: AnyPath
    names: tuple[str, ...] | None = None


class RecordSink(Section):
    """A JSON object for each frame, one a line."""

    type: Literal["records"] = "records"
    path: AnyPath


class NullSink(Section):
    """Nowhere, to measure the rest."""

    type: Literal["null"] = "null"


class StreamSink(Section):
    """A live stream; url: rtmp, rtmps, rtsp, udp or tcp; codec: H.264, NAME[:key=value,...]; timeout in seconds."""

    type: Literal["stream"] = "stream"
    url: str
    codec: str | None = None
    rate: Annotated[float, Field(gt=0, le=240)] | None = None
    silence: bool | None = None
    timeout: Annotated[float, Field(gt=0, le=600)] | None = None


class MjpegSink(Section):
    """Pictures over HTTP for browsers; without a token for this machine alone; port 0 for a free one."""

    type: Literal["mjpeg"] = "mjpeg"
    host: str | None = None
    port: Annotated[int, Field(ge=0, le=65535)] | None = None
    token: str | None = None
    clients: Positive | None = None
    quality: Annotated[int, Field(ge=1, le=100)] | None = None
    timeout: Annotated[float, Field(gt=0, le=600)] | None = None


class VirtualCameraSink(Section):
    """A camera that other programs can choose; device: such as /dev/video10; size: width and height."""

    type: Literal["virtual_camera"] = "virtual_camera"
    device: str | None = None
    size: tuple[Positive, Positive] | None = None
    format: Literal["yuv420p", "yuyv422"] | None = None
    rate: Annotated[float, Field(gt=0, le=240)] | None = None


class WindowSink(Section):
    """A window on the screen."""

    type: Literal["window"] = "window"
    title: str | None = None


class TablesSink(Section):
    """The tables of a drive as JSON lines, and as Parquet; stream: what their column of that name says."""

    type: Literal["tables"] = "tables"
    folder: AnyPath
    stream: str | None = None
    parquet: bool | None = None


class KafkaSink(Section):
    """A message a frame to Kafka; servers: HOST:PORT, joined by commas; settings: librdkafka's; timeout in seconds."""

    type: Literal["kafka"] = "kafka"
    servers: str
    topic: str | None = None
    stream: str | None = None
    timeout: Annotated[float, Field(gt=0, le=600)] | None = None
    settings: dict[str, str | int | float | bool] | None = None
