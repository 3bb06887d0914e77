"""An archive on two nodes of Ray, one of which is killed."""

from __future__ import annotations

from pathlib import Path

import pytest
from archives import archive, contents

ray = pytest.importorskip("ray", reason="ray is not installed: pip install 'rtseg[ray]'")

from ray.cluster_utils import Cluster as Nodes  # noqa: E402

from rtseg.archive.batch import Progress, batch  # noqa: E402
from rtseg.archive.tasks import RunChoice  # noqa: E402
from rtseg.errors import ConfigError  # noqa: E402

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]
BLURRED = RunChoice(options={"model": "portrait-fast", "background": "blur"})
SMALL = {"object_store_memory": 80 * 1024 * 1024}


def test_an_archive_is_whole_and_the_same_though_a_node_is_killed(tmp_path: Path) -> None:
    folder = archive(tmp_path / "in", 8)
    (folder / "bad.mp4").write_bytes((folder / "000.mp4").read_bytes()[:2000])
    alone = batch(str(folder), tmp_path / "alone", BLURRED)
    nodes = Nodes(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False, **SMALL})
    killed: list[object] = []
    try:
        both = [nodes.add_node(num_cpus=1, **SMALL) for _ in range(2)]

        def kill_one(progress: Progress) -> None:
            if progress.finished >= 2 and len(progress.running) == 2 and not killed:
                killed.append(both[1])
                nodes.remove_node(both[1], allow_graceful=False)

        made = batch(str(folder), tmp_path / "cluster", BLURRED, cluster=nodes.address, progress=kill_one)
        journal = (tmp_path / "cluster" / "journal.jsonl").read_text()
    finally:
        ray.shutdown()
        nodes.shutdown()
    assert killed
    assert made == alone
    assert contents(tmp_path / "cluster") == contents(tmp_path / "alone")
    assert journal.count('"done"') == 8


def test_where_no_cluster_answers_it_is_told(tmp_path: Path) -> None:
    folder = archive(tmp_path / "in", 1)
    with pytest.raises(ConfigError, match="no cluster answers there"):
        batch(str(folder), tmp_path / "out", BLURRED, cluster="127.0.0.1:1")
