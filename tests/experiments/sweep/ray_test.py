"""A sweep on a Ray cluster of two nodes, one of which is killed in the middle."""

import threading
import time

import pytest

from latent_jax.experiments.sweep.command import sweep_and_print
from tests.experiments.sweep.sweep_test import last_steps, results, sweep_file  # noqa: F401

ray = pytest.importorskip("ray", reason="needs pip install -e .[ray]")


@pytest.mark.slow
def test_no_cell_is_lost_with_a_node(sweep_file, tmp_path):  # noqa: F811
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    doomed = cluster.add_node(num_cpus=1)
    killed = []

    def kill_when_it_trains():
        while len([step for step in last_steps(tmp_path).values() if step >= 20]) < 2:
            time.sleep(0.2)
        killed.append(last_steps(tmp_path))
        cluster.remove_node(doomed, allow_graceful=False)

    killer = threading.Thread(target=kill_when_it_trains, daemon=True)
    killer.start()
    try:
        records = sweep_and_print(
            f"{sweep_file}:400;Bytes;GZip[v=256];GZip[v=65k]",
            workdir=tmp_path,
            engine="ray",
            address=cluster.address,
        )
    finally:
        cluster.shutdown()
    assert len(killed) == 1 and any(step < 400 for step in killed[0].values())
    assert len(records) == len(results(tmp_path)) == 3
    manifest = (tmp_path / "manifest.json").read_text()
    assert "died" in manifest or "crashed" in manifest or "Died" in manifest
    for record in records:
        assert record["step"] == 400
