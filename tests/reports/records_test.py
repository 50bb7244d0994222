import json

import numpy as np
import pytest

from latent_jax.reports import RunFolderError, find_runs, flatten, read_run


def append(run, *lines):
    with (run / "metrics.jsonl").open("a") as file:
        file.writelines(lines)


def record(step, value, split="validation"):
    return json.dumps(
        {"step": step, "split": split, "bytes_seen": 1000 * step, "bits_per_byte": value}
    )


def test_reads_what_was_written(make_run):
    run = read_run(make_run(method="BPE[v=300]", steps=3))
    assert run.method == run.name == "BPE[v=300]"
    assert len(run.split("train")) == len(run.split("validation")) == 3
    xs, ys = run.curve("bits_per_byte")
    np.testing.assert_array_equal(xs, [0, 10_000, 20_000])
    np.testing.assert_array_equal(ys, [8.0, 3.0 + 5 / 11, 3.0 + 5 / 21])


def test_the_configured_name_goes_before_the_method(make_run):
    assert read_run(make_run(name="small beta")).name == "small beta"


def test_a_curve_of_an_absent_metric_is_empty(make_run):
    run = read_run(make_run())
    xs, ys = run.curve("codebook_perplexity")
    assert len(xs) == len(ys) == 0
    assert not run.has("codebook_perplexity")
    assert run.has("bits_per_byte", "train")


def test_the_final_record_is_flat_and_takes_settings_along(make_run):
    final = read_run(make_run(steps=2)).final(config_keys=["model.d_model"])
    assert final == {
        "name": "Bytes",
        "method": "Bytes",
        "model.d_model": 64,
        "step": 10,
        "split": "validation",
        "bytes_seen": 10_000,
        "bits_per_byte": 3.0 + 5 / 11,
    }


def test_a_misspelt_setting_or_split_names_the_nearest(make_run):
    run = read_run(make_run())
    with pytest.raises(ValueError, match=r"no 'model\.dmodel' \(did you mean 'model\.d_model'\?\)"):
        run.final(config_keys=["model.dmodel"])
    with pytest.raises(ValueError, match="did you mean 'validation'"):
        run.split("valid")


@pytest.mark.parametrize("torn", ["{", '{"step": 50, "split": "vali', record(50, 1.0)[:-1]])
def test_a_torn_last_line_is_what_a_kill_leaves(make_run, torn):
    run = make_run(steps=3)
    before = read_run(run).records
    append(run, torn)
    assert read_run(run).records == before


def test_a_complete_last_line_without_its_newline_counts(make_run):
    run = make_run(steps=3)
    append(run, record(70, 1.5))
    assert read_run(run).final()["bits_per_byte"] == 1.5


def test_steps_trained_again_after_a_resume_replace_the_first_ones(make_run):
    run = make_run(steps=4)  # steps 0, 10, 20, 30
    append(run, record(20, 2.0) + "\n", record(40, 1.0) + "\n")
    xs, ys = read_run(run).curve("bits_per_byte")
    np.testing.assert_array_equal(xs, [0, 10_000, 20_000, 40_000])
    np.testing.assert_array_equal(ys[-2:], [2.0, 1.0])
    assert len(read_run(run).split("train")) == 4


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"step": 1, "spl{"step": 2}', "line 11 is not JSON"),
        ("", "line 11 is not JSON"),
        ("[1, 2]", "line 11 is not a JSON object but list"),
        ('{"split": "train", "bytes_seen": 1}', "line 11 has no 'step'"),
        ('{"step": 1, "split": "train"}', "does not say what the run has seen, such as 'bytes_s"),
        ('{"step": 1, "split": "test", "bytes_seen": 1}', "line 11 has split 'test'"),
        ('{"step": 1, "split": "train", "bytes_seen": "1"}', "'bytes_seen' is '1', not a number"),
        ('{"step": 1, "split": "train", "bytes_seen": 1, "a": true}', "'a' is True, not a number"),
    ],
)
def test_any_other_damage_names_file_and_line(make_run, line, message):
    run = make_run()
    append(run, line + "\n", record(90, 1.0) + "\n")
    with pytest.raises(RunFolderError, match=message) as error:
        read_run(run)
    assert str(run / "metrics.jsonl") in str(error.value)


@pytest.mark.parametrize("name", ["config.json", "metrics.jsonl"])
def test_a_folder_without_its_files_is_no_run_folder(make_run, name):
    run = make_run()
    (run / name).unlink()
    with pytest.raises(RunFolderError, match=f"is not a run folder: it has no {name}"):
        read_run(run)


@pytest.mark.parametrize("text", ["", "{}", '{"method": 3}', "[]"])
def test_a_damaged_config_is_refused(make_run, text):
    run = make_run()
    (run / "config.json").write_text(text)
    with pytest.raises(RunFolderError, match=r"config\.json"):
        read_run(run)


def test_a_run_without_an_evaluation_has_no_final_record(make_run):
    run = make_run()
    (run / "metrics.jsonl").write_text("")
    with pytest.raises(RunFolderError, match="no validation record yet"):
        read_run(run).final()


def test_finds_run_folders_below_a_folder(make_run, tmp_path):
    runs = [make_run("sweep/b"), make_run("sweep/a/deep")]
    (tmp_path / "sweep" / "empty").mkdir()
    assert find_runs(tmp_path / "sweep") == sorted(runs)
    assert find_runs(runs[0]) == [runs[0]]
    with pytest.raises(RunFolderError, match="no run folder"):
        find_runs(tmp_path / "sweep" / "empty")


def test_nested_settings_become_dotted_names():
    nested = {"a": 1, "b": {"c": "x", "d": {"e": [1]}}}
    assert flatten(nested) == {"a": 1, "b.c": "x", "b.d.e": [1]}
