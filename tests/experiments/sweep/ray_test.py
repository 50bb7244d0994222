"""A sweep on a Ray cluster: its nodes come and go, and it is joined by address."""

import socket
import subprocess
import sys
import threading
import time

import pytest

from latent_jax.experiments.sweep.command import sweep_and_print
from tests.experiments.sweep.sweep_test import last_steps, results, sweep_file  # noqa: F401
from tests.launching import environment

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


@pytest.mark.parametrize("address", ["localhost:1", "ray://localhost:1", "nonsense"])
def test_a_cluster_that_does_not_answer_is_one_line(sweep_file, tmp_path, address):  # noqa: F811
    began = time.monotonic()
    with pytest.raises(ValueError, match=f"no Ray cluster answers at '{address}'") as caught:
        sweep_and_print(f"{sweep_file}:4;Bytes", workdir=tmp_path, engine="ray", address=address)
    assert "\n" not in str(caught.value) and "ray start --head" in str(caught.value)
    assert time.monotonic() - began < 60


@pytest.mark.slow
def test_a_machine_outside_of_the_cluster_reaches_it_by_its_head_node(
    sweep_file,  # noqa: F811
    tmp_path,
):
    port, client = "6390", "9990"
    start = ("start", "--head", "--block", "--port", port, "--ray-client-server-port", client)
    head = subprocess.Popen(
        [sys.executable, "-m", "ray.scripts.scripts", *start]
        + ["--num-cpus", "1", "--include-dashboard", "false"],
        env=environment(),
    )
    deadline = time.monotonic() + 120
    while not all(is_open(number) for number in (port, client)):
        assert time.monotonic() < deadline and head.poll() is None
        time.sleep(0.2)
    try:
        for number, address in enumerate((f"localhost:{port}", f"ray://localhost:{client}")):
            records = sweep_and_print(
                f"{sweep_file}:4;Bytes",
                workdir=tmp_path / str(number),
                engine="ray",
                address=address,
            )
            assert [record["step"] for record in records] == [4]
    finally:
        head.terminate()
        head.wait(60)


def is_open(port):
    with socket.socket() as attempt:
        return attempt.connect_ex(("localhost", int(port))) == 0
