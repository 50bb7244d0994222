import pytest

from configs import language_model
from latent_jax.costs.records import _needed, program_costs
from latent_jax.costs.table import compile_and_print, tables
from latent_jax.costs.target import make_target
from latent_jax.platform import chip
from latent_jax.reports.tables import read_table
from tests.costs.targets import small

WORDS = dict(n_devices=1, cuda_chip="H200", bytes_per_token=4.0, programs=["evaluation"])


@pytest.fixture(scope="module")
def records():
    return program_costs(small("gpt"), make_target("cuda"), 1.0)


def test_a_target_without_compiler_says_what_lowering_knows(records):
    train, evaluation = records
    assert [train["program"], evaluation["program"]] == ["train", "evaluation"]
    # Parameters, two moments, step, counters and key; then ids, weights and bytes of 8 rows.
    batch = 8 * 128 * (4 + 4) + 8 * 4
    assert evaluation["argument_bytes"] == 4 * train["n_parameters"] + batch
    assert 0 <= train["argument_bytes"] - 12 * train["n_parameters"] - batch < 64
    assert train["kernels"] == "2 x __cudnn$fmhaSoftmax, 2 x __cudnn$fmhaSoftmaxBackward"
    assert train["bound_ms"] == train["flops_bound_ms"] == 1e3 * train["ledger_flops"] / 989e12
    unknown = {"temporary_bytes", "peak_bytes", "fits", "traffic_bytes", "collective_count"}
    assert not unknown & train.keys()


def test_tables_leave_out_what_is_not_known(records):
    text = tables(records)
    assert "Bytes on 1 x H100 (cuda), pmap: 8 x 128 of 257 ids a step" in text
    assert "There is no compiler for cuda here" in text
    assert "a bound, not a prediction" in text
    for absent in ("temporaries\n", "Collectives of", "main memory"):
        assert absent not in text


def test_tables_show_every_kind_of_collective_and_branches_apart(records):
    record = records[0] | {
        "temporary_bytes": 3e6,
        "peak_bytes": 5e6,
        "fits": True,
        "all_to_all_count": 7,
        "all_to_all_bytes": 2_500_000,
        "branch_collective_count": 3,
        "branch_collective_bytes": 1000,
    }
    lines = [line.split() for line in tables([record]).splitlines()]
    assert ["train", "all-to-all", "7", "2.500"] in lines
    assert ["train", "in", "a", "branch,", "of", "any", "kind", "3", "0.001"] in lines
    assert "No compiler" not in tables([record])


def test_a_program_that_does_not_fit_is_shown_as_such(records):
    text = tables([records[0] | {"fits": False, "peak_bytes": 99e9}])
    assert ["99,000.00", "85,899", "no"] in [line.split()[-3:] for line in text.splitlines()]
    assert "No compiler" not in text


def test_rows_of_text_are_more_bytes_than_ids():
    config = language_model.get_config("size=nano,method=BPE[v=4096]")
    one, four = (
        program_costs(config, make_target("cuda"), ratio, ["evaluation"])[0] for ratio in (1.0, 4.0)
    )
    assert (one["vocab_size"], four["assumed_bytes_per_token"]) == (4096, 4.0)
    assert four["ledger_flops"] == pytest.approx(one["ledger_flops"])


def test_a_table_and_a_file(tmp_path, capsys):
    path = tmp_path / "costs.json"
    compile_and_print(small("gpt"), "cuda", json_path=str(path), **WORDS)
    (record,) = read_table(path)
    assert record["chip"] == "H200" == chip("H200").name
    assert record["program"] == "evaluation" and record["topology"] == "cuda"
    assert "1 x H200 (cuda)" in capsys.readouterr().out


def test_other_programs_of_one_name_are_added_and_known_ones_left_alone(tmp_path, capsys):
    path = tmp_path / "costs.json"
    add = dict(json_path=str(path), append=True)
    compile_and_print(small("gpt"), "cuda", **add, **WORDS)
    compile_and_print(small("gpt"), "cuda", **add, **WORDS)
    assert f"{path} has evaluation of Bytes" in capsys.readouterr().out
    assert len(read_table(path)) == 1
    deeper = small("gpt")
    deeper.model.n_layers += 1
    compile_and_print(deeper, "cuda", **add, **WORDS)
    compile_and_print(small("gpt"), "cuda", **add, **WORDS | {"cuda_chip": "A100"})
    n_parameters = [record["n_parameters"] for record in read_table(path)]
    assert len(n_parameters) == 3 and n_parameters[0] == n_parameters[2] < n_parameters[1]


@pytest.mark.parametrize("text", ["[1]", '[{"name": ', "", "{}", "null", "[" * 100_000])
def test_what_is_no_list_of_records_is_refused_before_anything_is_lowered(tmp_path, text):
    path = tmp_path / "costs.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"costs\.json (cannot be read as|holds no) "):
        compile_and_print(small("gpt"), "nonsense", json_path=str(path), append=True, **WORDS)
    assert path.read_text() == text


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (dict(append=True), "--append adds records to the file of --json: name one"),
        (dict(json_path="."), r"--json=\. is a folder: name a file"),
        (dict(bytes_per_token=0.0), r"bytes_per_token must be more than 0; got 0\.0"),
        (dict(bytes_per_token=float("nan")), "bytes_per_token must be more than 0; got nan"),
    ],
)
def test_what_would_be_lost_is_refused_before_anything_is_lowered(words, message):
    with pytest.raises(ValueError, match=message):
        compile_and_print(small("gpt"), "nonsense", **WORDS | words)


def test_a_batch_that_does_not_divide_is_refused():
    with pytest.raises(ValueError, match="a global batch of 8 rows does not divide among 3"):
        compile_and_print(small("gpt"), "cuda", **WORDS | {"n_devices": 3})


@pytest.mark.parametrize(
    ("message", "needed"),
    [
        (
            "RESOURCE_EXHAUSTED: Ran out of memory in memory space hbm. Used 20.50G of 15.75G hbm.",
            {"peak_bytes": 20.5 * 2**30},
        ),
        (
            "RESOURCE_EXHAUSTED: Ran out of memory on HBM, the total memory required for HLO "
            "temporaries (512.00M) exceeds available HBM (15.75G).",
            {"temporary_bytes": 512 * 2**20},
        ),
        ("RESOURCE_EXHAUSTED: too many registers", {}),
    ],
)
def test_what_a_program_would_need_is_read_from_the_compilers_words(message, needed):
    assert _needed(message) == needed
