"""An archive on two nodes of Ray, one of which is killed."""

from __future__ import annotations

import shutil
from pathlib import Path

import archives
import pytest
from archives import REPEATED, archive, contents, lasts

ray = pytest.importorskip("ray", reason="ray is not installed: pip install 'rtseg[ray]'")

from ray.cluster_utils import Cluster as Nodes  # noqa: E402

from rtseg.archive.batch import Progress, batch  # noqa: E402
from rtseg.archive.cluster import ClusterWorkers  # noqa: E402
from rtseg.archive.options import DriveOptions  # noqa: E402
from rtseg.archive.tasks import RunChoice  # noqa: E402
from rtseg.errors import ConfigError  # noqa: E402

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]
BLURRED = RunChoice(options={"model": "portrait-fast", "background": "blur"}, codec=REPEATED)
DRIVEN = DriveOptions(model="road-fast", analyzers=("lanes",), codec=REPEATED, threads=1)
SMALL = {"object_store_memory": 80 * 1024 * 1024}


@pytest.mark.parametrize("choice", [BLURRED, DRIVEN], ids=["run", "drive"])
def test_an_archive_is_whole_and_the_same_though_a_node_is_killed(
    tmp_path: Path, choice: RunChoice | DriveOptions
) -> None:
    folder, out = archive(tmp_path / "in", 5), tmp_path / "cluster"
    (folder / "bad.mp4").write_bytes((folder / "000.mp4").read_bytes()[:2000])
    alone = batch(str(folder), tmp_path / "alone", choice)
    nodes = Nodes(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False, **SMALL})
    ray.cloudpickle.register_pickle_by_value(archives)
    killed: list[Path] = []
    try:
        both = [nodes.add_node(num_cpus=1, **SMALL) for _ in range(2)]

        def kill_one(progress: Progress) -> None:
            """The second node, in the middle of a file."""
            marks = list(out.glob(f"starts/* {both[1].node_id}"))
            busy = [mark for mark in marks if mark.read_text() == "begun"]
            if progress.finished >= 1 and len(marks) > 1 and busy and not killed:
                killed.extend(busy)
                nodes.remove_node(both[1], allow_graceful=False)
                (out / "go").write_text(both[1].node_id)

        workers = ClusterWorkers(nodes.address, do=lasts)
        made = batch(str(folder), out, choice, workers=workers, progress=kill_one)
        starts = list((out / "starts").iterdir())
    finally:
        ray.cloudpickle.unregister_pickle_by_value(archives)
        ray.shutdown()
        nodes.shutdown()
    assert len(killed) == 1
    assert len(starts) == 6 + 1  # its file was begun again
    shutil.rmtree(out / "starts")
    (out / "go").unlink()
    assert made == alone
    assert contents(out) == contents(tmp_path / "alone")


def test_where_no_cluster_answers_it_is_told(tmp_path: Path) -> None:
    folder = archive(tmp_path / "in", 1)
    with pytest.raises(ConfigError, match="no cluster answers there"):
        batch(str(folder), tmp_path / "out", BLURRED, cluster="127.0.0.1:1")
