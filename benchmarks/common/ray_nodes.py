"""Two nodes of Ray on this machine, for measurements that compare engines."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

_SMALL = 100 * 2**20


@contextmanager
def two_nodes(cores: int) -> Iterator[str]:
    """The address of a cluster: a head that measures nothing, and two nodes with so many processors each."""
    given = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_raylet_start_wait_time_s": "180", "RAY_worker_niceness": "0"}
    os.environ.update(given)  # else workers are nice by 15, which those of this machine are not
    from ray.cluster_utils import Cluster

    store = {"object_store_memory": _SMALL}
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False, **store})
    try:
        for _ in range(2):
            cluster.add_node(num_cpus=cores, **store)
        yield cluster.address
    finally:
        cluster.shutdown()
