import pytest
from jax.profiler import ProfileData

from latent_jax.costs.trace import Event, count_steps, device_events, own_times, traces
from tests.costs.made_traces import write_trace


def test_two_streams_share_the_time_in_which_both_are_busy():
    events = [Event("1", "dot", 0, 10), Event("2", "copy", 6, 14), Event("1", "dot", 20, 21)]
    assert own_times(events) == {"dot": 6 + 2 + 1, "copy": 2 + 4}


def test_a_loop_is_without_what_runs_in_it():
    events = [
        *(Event("1", "while", 0, 10), Event("1", "dot", 0, 4), Event("1", "copy", 4, 7)),
        Event("1", "nothing", 5, 5),
    ]
    assert own_times(events) == {"while": 3, "dot": 4, "copy": 3}


def test_threads_of_a_host_work_for_any_device(tmp_path):
    threads = {
        "tf_XLAEigen/1": [("dot @0", 0, 4), ("dot @1", 4, 6)],
        "tf_XLAEigen/2": [("dot @1", 0, 3), ("a function of Python", 0, 90)],
    }
    path = write_trace(tmp_path, {"/host:CPU": threads}, n_steps=3)
    data = ProfileData.from_file(str(path))
    assert count_steps(data) == 3
    times = {device: own_times(events) for device, events in device_events(data).items()}
    assert times == {"CPU 0": {"dot": 4e6}, "CPU 1": {"dot": 5e6}}


@pytest.mark.parametrize(("chip", "line"), [("GPU", "Stream #7(Compute)"), ("TPU", "XLA Ops")])
def test_chips_have_planes_of_their_own(tmp_path, chip, line):
    work = {line: [("dot", 0, 4)], "Steps": [("0", 0, 9)]}
    planes = {
        "/host:CPU": {"thread": [("dot @0", 0, 50)]},
        **{f"/device:{chip}:{i}": work for i in range(2)},
        f"/device:{chip}:2": {"Steps": [("0", 0, 9)]},
        "/device:CUSTOM:Megascale Trace": work,
    }
    data = ProfileData.from_file(str(write_trace(tmp_path, planes)))
    events = device_events(data)
    assert list(events) == [f"/device:{chip}:0", f"/device:{chip}:1"]
    assert all(own_times(ran) == {"dot": 4e6} for ran in events.values())


def test_a_folder_that_is_not_there_holds_no_trace(tmp_path):
    assert traces(tmp_path / "profile") == []
