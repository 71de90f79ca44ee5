"""Two nodes of Ray on this machine, for measurements that compare engines."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

_SMALL = 100 * 2**20


@contextmanager
def two_nodes(cores: int) -> Iterator[str]:
    """The address of a cluster: a head that measures nothing, and two nodes with so many processors each."""
    os.environ.update({"RAY_USAGE_STATS_ENABLED": "0", "RAY_raylet_start_wait_time_s": "180"})
    os.environ["RAY_worker_niceness"] = "0"  # as workers of this machine are
    from ray.cluster_utils import Cluster

    given = {"object_store_memory": _SMALL}
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False, **given})
    try:
        for _ in range(2):
            cluster.add_node(num_cpus=cores, **given)
        yield cluster.address
    finally:
        cluster.shutdown()
