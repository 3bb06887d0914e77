"""Everything that a suite found, as values: what `bench.json` holds, and what reports and plots are made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from rtseg.bench.adaptive import Fidelity
from rtseg.bench.device import EngineTime
from rtseg.bench.job import Report
from rtseg.bench.power import Energy
from rtseg.bench.stages import overhead
from rtseg.bench.start import FIRST_FRAME_S, IMPORT_MS
from rtseg.bench.streams import Level

FORMAT = 1
"""Of bench.json; another number when a key changes its meaning."""

LIMIT_RATIO = {"picture": 1.35, "blur": 1.5}
"""What rtseg may cost at 720p on a CPU, beside decode, encode and the network, by what is behind the person."""
OVERHEAD_MS = 2.5
"""What all but decode, encode and network may cost at 720p."""
ADAPTIVE_RATIO, ADAPTIVE_IOU = 0.75, 0.97


@dataclass(frozen=True, slots=True)
class SizeResult:
    """One size. programs: medians over rounds of floor, network, every, adaptive; spread: the CPU-ms of each round.

    stages: CPU-ms a frame of each by itself. paced: the runs at the clip's rate, every and adaptive. energy: of the
    machine during the rounds of "every", `energy_frames` frames.
    """

    width: int
    height: int
    frames: int
    programs: Mapping[str, Report]
    spread: Mapping[str, tuple[float, ...]]
    stages: Mapping[str, float]
    paced: Mapping[str, Report]
    energy: Energy
    energy_frames: int

    @property
    def limit_ms(self) -> float:
        """Decode, encode and the network alone: CPU-ms a frame."""
        return self.programs["floor"].cpu_ms + self.programs["network"].cpu_ms

    @property
    def to_floor(self) -> float:
        """Every frame, as a multiple of decode and encode."""
        return self.programs["every"].cpu_ms / self.programs["floor"].cpu_ms

    @property
    def to_limit(self) -> float:
        """Every frame, as a multiple of decode, encode and the network."""
        return self.programs["every"].cpu_ms / self.limit_ms

    @property
    def adaptive_ratio(self) -> float | None:
        """Adaptive to every frame, whole processes; None where it was not measured."""
        adaptive = self.programs.get("adaptive")
        return None if adaptive is None else adaptive.cpu_ms / self.programs["every"].cpu_ms


@dataclass(frozen=True, slots=True)
class ClipResult:
    """`--adaptive` on a clip: fidelity of its masks, and CPU-ms a frame of whole processes, encoder included."""

    clip: str
    fidelity: Fidelity
    every_ms: float
    adaptive_ms: float

    @property
    def pipeline_ratio(self) -> float:
        """Of the pipeline alone."""
        return self.fidelity.adaptive_ms / self.fidelity.every_ms

    @property
    def ratio(self) -> float:
        """Of whole processes."""
        return self.adaptive_ms / self.every_ms


@dataclass(frozen=True, slots=True)
class StartResult:
    """Fresh processes: medians, and every single one. first_frame_s is wall time, first_frame_cpu_s the CPU's."""

    import_ms: float
    first_frame_s: float
    first_frame_cpu_s: float
    imports: tuple[float, ...]
    first_frames: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Target:
    """A promise and what was measured; at_least: more is better."""

    name: str
    value: float
    limit: float
    at_least: bool = False

    @property
    def met(self) -> bool:
        """Whether it is kept."""
        return self.value >= self.limit if self.at_least else self.value <= self.limit


@dataclass(frozen=True)
class Results:
    """A suite's figures. background: "picture", "blur" or None for another effect. unmeasured: why, by part."""

    input: str
    effect: str
    background: str | None
    date: str
    machine: Mapping[str, str]
    sizes: Mapping[str, SizeResult]
    clips: tuple[ClipResult, ...]
    start: StartResult
    engine: Mapping[str, EngineTime]
    streams: tuple[Level, ...] | None
    load: str | None
    rounds: int
    unmeasured: Mapping[str, str]
    peers: Mapping[str, Any] = field(default_factory=dict)

    @property
    def on_cpu(self) -> bool:
        """Whether the network ran there: the promises about CPU-ms are of the CPU."""
        return self.engine["network"].device == "cpu"

    @property
    def targets(self) -> list[Target]:
        """The promises that something was measured of."""
        found = []
        size = self.sizes.get("720p")
        if size is not None and self.on_cpu and self.background in LIMIT_RATIO:
            limit = LIMIT_RATIO[self.background]
            found += [
                Target(f"720p, {self.background}: x the limit", size.to_limit, limit),
                Target("720p: CPU-ms beside the limit, sum of stages", overhead(size.stages), OVERHEAD_MS),
            ]
        if self.clips:
            worst = f"worst of {len(self.clips)} clips" if len(self.clips) > 1 else self.clips[0].clip
            ratios, pipelines = ([clip.ratio for clip in self.clips], [clip.pipeline_ratio for clip in self.clips])
            found += [
                Target(f"adaptive / every, pipeline, {worst}", max(pipelines), ADAPTIVE_RATIO),
                Target(f"adaptive / every, process, {worst}", max(ratios), ADAPTIVE_RATIO),
                Target(f"adaptive, mean IoU, {worst}", min(c.fidelity.iou for c in self.clips), ADAPTIVE_IOU, True),
            ]
        return [
            *found,
            Target("import rtseg, ms", self.start.import_ms, IMPORT_MS),
            Target("first frame, s from process start", self.start.first_frame_s, FIRST_FRAME_S),
        ]

    @property
    def data(self) -> dict[str, Any]:
        """Plain values at full precision, with the ratios and targets that follow from them."""
        values = {"format": FORMAT, **asdict(self)}
        for name, size in self.sizes.items():
            values["sizes"][name] |= {
                "limit_ms": size.limit_ms,
                "to_floor": size.to_floor,
                "to_limit": size.to_limit,
                "adaptive_ratio": size.adaptive_ratio,
                "overhead_ms": overhead(size.stages),
            }
        for clip, value in zip(self.clips, values["clips"], strict=True):
            value |= {"ratio": clip.ratio, "pipeline_ratio": clip.pipeline_ratio}
        values["targets"] = [asdict(target) | {"met": target.met} for target in self.targets]
        return values
