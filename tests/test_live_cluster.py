"""Streams as actors of Ray: two nodes on this machine, one of them killed."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

ray = pytest.importorskip("ray", reason="ray is not installed: pip install 'rtseg[ray]'")

from ray.cluster_utils import Cluster as Nodes  # noqa: E402

from rtseg.errors import ConfigError, ModelNotFound, Overloaded, SourceNotFound  # noqa: E402
from rtseg.live.cluster import Cluster  # noqa: E402
from rtseg.live.fleet import open_fleet  # noqa: E402
from rtseg.live.options import StreamOptions, StreamsFile, parse_stream  # noqa: E402
from rtseg.types import Output  # noqa: E402

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]
BACK_WITHIN = 20.0
"""Seconds from a node's death until the stream's pictures come again; 7 to 8 on two cores of an AMD EPYC."""


def until(condition: Callable[[], object], *, seconds: float = 20.0) -> float:
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < seconds, "it did not happen in time"
        time.sleep(0.05)
    return time.monotonic() - began


@pytest.fixture(scope="module")
def nodes() -> Iterator[Nodes]:
    """A head without room for streams, and two nodes with a core each."""
    small = {"object_store_memory": 80 * 1024 * 1024}
    made = Nodes(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False, **small})
    try:
        for _ in range(2):
            made.add_node(num_cpus=1, **small)
        yield made
    finally:
        ray.shutdown()
        made.shutdown()


@pytest.fixture
def cluster(nodes: Nodes) -> Iterator[Cluster]:
    made = open_fleet(StreamsFile(ray=nodes.address))
    assert isinstance(made, Cluster)
    yield made
    made.close()


def pattern(name: str, folder: Path, **more: object) -> StreamOptions:
    source = {"type": "synthetic", "graph": "testsrc2=size=160x96:rate=10"}
    sinks = [{"type": "images", "folder": str(folder)}]
    return parse_stream(
        {"name": name, "source": source, "scene": {"background": "#00ff00"}, "sinks": sinks, "cpus": 1, **more}
    )


def place_of(cluster: Cluster, name: str) -> tuple[str, int]:
    node, process = ray.get(cluster.actor(name).where.remote(), timeout=10)
    return str(node), int(process)


def newest(folder: Path) -> float:
    return max((path.stat().st_mtime for path in folder.glob("*.png")), default=0.0)


def last_of(folder: Path) -> Any:
    """The picture of the last frame that was written, or None."""
    paths = sorted(folder.glob("*.png"))
    return cv2.imread(str(paths[-1])) if paths else None


def seen(cluster: Cluster, name: str, *, seconds: float = 20.0) -> list[Output]:
    """Three pictures of a stream, as somebody sees them who looks on."""
    watch = cluster.watch(name)
    outputs: list[Output] = []
    end = time.monotonic() + seconds
    while len(outputs) < 3:
        assert time.monotonic() < end, "no pictures came"
        if (output := watch.next(1.0)) is not None:
            outputs.append(output)
    watch.close()
    return outputs


def is_green(picture: Any) -> bool:
    return bool(np.abs(picture[4, 4].astype(int) - (0, 255, 0)).max() < 12)


def is_slate(picture: Any) -> bool:
    return bool(np.abs(picture[4, 4].astype(int) - 28).max() < 6)


def test_streams_are_changed_and_watched_where_they_are(cluster: Cluster, tmp_path: Path) -> None:
    for name in ("one", "two"):
        cluster.add(pattern(name, tmp_path / name))
    assert place_of(cluster, "one")[0] != place_of(cluster, "two")[0]  # a core each
    cluster.change("one", {"scene": {"background": "#ff0000"}})
    assert cluster.list()["one"].scene.background == "#ff0000"
    until(lambda: seen(cluster, "one")[-1].picture.bgr[4, 4, 2] > 240)
    assert all(is_green(output.picture.bgr) for output in seen(cluster, "two"))
    with pytest.raises(ModelNotFound):
        cluster.change("one", {"model": "no-such-model"})
    with pytest.raises(ConfigError, match="already"):
        cluster.add(pattern("one", tmp_path / "x"))
    with pytest.raises(Overloaded, match="needs 1 cores"):
        cluster.add(pattern("three", tmp_path / "x"))
    cluster.remove("two")
    for unknown in (cluster.options, cluster.remove, cluster.watch):
        with pytest.raises(KeyError):
            unknown("two")
    with pytest.raises(SourceNotFound):  # and not Overloaded: the core of "two" is free, as soon as Ray knows it
        cluster.add(pattern("three", tmp_path / "x", source=str(tmp_path / "missing.mp4")))
    assert list(cluster.list()) == ["one"]


def test_a_process_that_dies_takes_no_other_stream_with_it(cluster: Cluster, tmp_path: Path) -> None:
    for name in ("dies", "lives"):
        cluster.add(pattern(name, tmp_path / name))
    until(lambda: all(status.state == "live" for status in cluster.list().values()))
    before = cluster.list()["lives"].frames_out
    process = place_of(cluster, "dies")[1]
    os.kill(process, signal.SIGKILL)
    until(lambda: cluster.list()["dies"].link == "lost")
    assert cluster.list()["lives"].state == "live"
    until(lambda: cluster.list()["dies"].state == "live", seconds=BACK_WITHIN)
    assert place_of(cluster, "dies")[1] != process
    assert all(is_green(output.picture.bgr) for output in seen(cluster, "dies"))
    assert cluster.list()["lives"].frames_out > before + 10


def test_an_address_without_a_cluster_is_an_error() -> None:
    if ray.is_initialized():
        ray.shutdown()
    with pytest.raises(ConfigError, match="no cluster answers"):
        Cluster("127.0.0.1:1")


def test_a_stream_begins_elsewhere_when_its_node_is_lost(nodes: Nodes, cluster: Cluster, tmp_path: Path) -> None:
    here = tmp_path / "moved"
    cluster.add(pattern("moved", here, scene={"background": "#0000ff"}))
    cluster.change("moved", {"scene": {"background": "#00ff00", "mirror": True}})
    until(lambda: (last := last_of(here)) is not None and is_green(last))  # the sink is past the first scene
    lost = next(node for node in nodes.worker_nodes if node.node_id == place_of(cluster, "moved")[0])
    written = {path.name for path in here.glob("*.png")}
    for name in written:
        (here / name).unlink()
    killed = time.time()
    nodes.remove_node(lost, allow_graceful=False)
    until(lambda: cluster.list()["moved"].state == "no signal")
    until(lambda: newest(here) > killed + 0.5 and cluster.list()["moved"].state == "live", seconds=BACK_WITHIN)
    assert time.time() - killed < BACK_WITHIN
    assert cluster.options("moved").scene == cluster.list()["moved"].scene
    assert cluster.list()["moved"].scene.mirror
    time.sleep(0.5)
    pictures = [cv2.imread(str(path)) for path in here.glob("*.png")]
    assert sum(is_green(picture) for picture in pictures) > 3
    assert [picture for picture in pictures if not (is_green(picture) or is_slate(picture))] == []
