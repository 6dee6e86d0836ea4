"""Every executor, as every test of them sees it."""

from __future__ import annotations

import os
import warnings
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from assay.executors import opened

# Read when Ray is imported, by whichever test is first. A machine that runs other tests besides starts nodes slowly,
# and Ray's workers, which make way for everything else by default, would hardly ever have their turn.
os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "RAY_raylet_start_wait_time_s": "300", "RAY_worker_niceness": "0"}

NODE = {"num_cpus": 1, "object_store_memory": 80 * 2**20}


@dataclass
class TwoNodes:
    """A Ray cluster of two nodes on this machine, each with a raylet of its own."""

    cluster: Any
    node: Any

    @property
    def setting(self) -> str:
        return f"ray:{self.cluster.address}"

    def kill_node(self) -> None:
        self.cluster.remove_node(self.node, allow_graceful=False)

    def mend(self) -> None:
        if self.node not in self.cluster.worker_nodes:
            self.node = self.cluster.add_node(**NODE)


@contextmanager
def quiet_ray():
    """Ray uses what Python and its packages are about to remove, and leaves its processes to the collector."""
    with warnings.catch_warnings():
        for kind in (DeprecationWarning, FutureWarning, ResourceWarning):
            warnings.simplefilter("ignore", kind)
        yield


@pytest.fixture(scope="session")
def two_nodes():
    pytest.importorskip("ray", reason="the extra ray is not installed", exc_type=ImportError)
    # Workers are children of the nodes, and import the tests' own tasks.
    folders = [str(Path(__file__).parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    with quiet_ray(), pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join(folders))
        from ray.cluster_utils import Cluster

        cluster = Cluster(initialize_head=True, head_node_args={**NODE, "include_dashboard": False})
        made = TwoNodes(cluster, cluster.add_node(**NODE))
        yield made
        cluster.shutdown()


@pytest.fixture(params=["serial", "pool", pytest.param("ray", marks=pytest.mark.slow)])
def setting(request):
    """The setting of each executor; Ray's is the cluster of two nodes."""
    if request.param != "ray":
        return request.param
    nodes = request.getfixturevalue("two_nodes")
    nodes.mend()
    return nodes.setting


@pytest.fixture
def executor(setting, tmp_path):
    with quiet_ray(), opened(setting, 2, tmp_path) as made:
        yield made
