import pytest

from latent_jax.costs.profile import OTHER, describe_profile, kind_of, summarize_profile
from tests.costs.made_traces import write_trace


def test_the_shares_of_a_step_on_two_devices_add_up(tmp_path):
    threads = {
        "tf_XLAEigen/1": [("while @0", 0, 40), ("dot @0", 0, 30), ("copy @0", 45, 50)],
        "tf_XLAEigen/2": [("while @1", 0, 40), ("dot @1", 0, 30), ("all-reduce @1", 40, 50)],
        "tf_XLAEigen/3": [("add_fusion @1", 20, 30)],
    }
    trace = write_trace(tmp_path, {"/host:CPU": threads}, n_steps=2)
    title, kinds, kernels = summarize_profile(tmp_path).split("\n\n")
    assert title == (
        "2 steps on 2 devices in 0.05 s; below, one step on one device.\n"
        f"Trace in {trace.parent}: xprof {tmp_path}, or its .trace.json.gz in ui.perfetto.dev"
    )
    assert kinds.split("\n") == [
        "                            of the time        ms   kernels",
        "kind of work                          %  per step  per step",
        "--------------------------  -----------  --------  --------",
        "matrix products                    55.0     13.75       0.5",
        "other                              20.0      5.00       0.5",
        "collectives                        10.0      2.50       0.2",
        "copies                              5.0      1.25       0.2",
        "element-wise                        5.0      1.25       0.2",
        "nothing (the device waits)          5.0      1.25         -",
    ]
    assert kernels.split("\n")[1].split() == ["kernel", "%", "per", "step", "per", "step"]
    assert [line.split()[0] for line in kernels.split("\n")[3:5]] == ["dot", "while"]


def test_a_folder_without_a_trace_is_refused(tmp_path):
    with pytest.raises(ValueError, match="holds no trace"):
        summarize_profile(tmp_path)


def test_a_trace_without_steps_is_described_as_such(tmp_path):
    write_trace(tmp_path, {"/device:GPU:0": {"Stream #1": [("dot", 0, 4)]}}, n_steps=0)
    assert "the trace cannot be summed up: " in describe_profile(tmp_path)
    assert "marks no steps" in describe_profile(tmp_path)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("nvjet_sm90_tst_128x160_64x5_2x1_v_bz_NNT", "matrix products"),
        ("gemm_fusion_dot_130", "matrix products"),
        ("void cudnn::fusion::fmha_dbias<true>(void const*)", "attention kernels"),
        ("ncclDevKernel_AllReduce_Sum_f32_RING_LL", "collectives"),
        ("input_add_reduce_fusion_9", "reductions"),
        ("loop_multiply_fusion_11", "element-wise"),
        ("MemcpyD2D", "copies"),
        ("input_scatter_fusion", "scatter and gather"),
        ("strange", OTHER),
    ],
)
def test_kernels_are_told_apart_by_name(name, kind):
    assert kind_of(name) == kind
