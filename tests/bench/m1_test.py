import numpy as np
import pytest

from latent_jax.bench.m1 import benchmark_m1
from latent_jax.reports.tables import read_table


@pytest.fixture
def text(tmp_path):
    path = tmp_path / "text.txt"
    path.write_bytes(b"The history of the city begins with a river. " * 60)
    return str(path)


def test_every_number_of_lanes_has_a_row_within_its_time(text, tmp_path, capsys):
    path = tmp_path / "m1.json"
    records = benchmark_m1([text], lanes=[2, 3], seconds=0.5, json_path=str(path))
    assert read_table(path) == records
    assert [record["lanes"] for record in records] == [2, 3]
    for record in records:
        # All workers' lanes had texts of 16 bytes, or of a power of two times as many.
        n_doublings = np.log2(record["n_bytes"] / record["lanes"] / record["workers"] / 16)
        assert n_doublings == int(n_doublings) >= 0
        assert record["encode_kb_per_s"] > 0 and record["step_ms"] > 0
        ratio = record["encode_kb_per_s"] / record["prefix_kb_per_s"]
        assert record["speed_ratio"] == pytest.approx(ratio)
    assert capsys.readouterr().out.count("start-up") == 3, "one table each, and one of all"


def test_what_cannot_be_measured_is_refused(text):
    with pytest.raises(ValueError, match=r"AC\[v=256\] has no windows"):
        benchmark_m1([text], method="AC[v=256]")
    with pytest.raises(ValueError, match="seconds must be more than 0; got 0"):
        benchmark_m1([text], seconds=0)
    with pytest.raises(ValueError, match="lanes=-1: give at least 1, or 0"):
        benchmark_m1([text], lanes=[-1])
