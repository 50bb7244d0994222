"""The table of several runs, and the folder of what is drawn of them."""

import json

from latent_jax.reports.command import comparison_table, report


def stop_early(run, values):
    """Give the validation records of a run these values, as early stopping writes them."""
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    validations = [line for line in lines if line["split"] == "validation"]
    for record, value in zip(validations, values, strict=True):
        record["bits_per_byte"], record["evaluations_without_improvement"] = value, 0
    (run / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return run


def test_a_run_that_may_stop_early_shows_what_was_kept(make_run):
    plain = make_run("plain", steps=4)
    assert "kept" not in comparison_table([plain])
    stopped = stop_early(make_run("stopped", name="stopped", steps=4), [5.0, 2.125, 2.5, 2.75])
    *_, head, _, first, second = comparison_table([plain, stopped]).splitlines()
    assert "the kept checkpoint" in head and "of step" in head
    assert first.split()[-2:] == ["-", "-"]
    assert second.split()[-2:] == ["2.125", "10"] and "2.750" in second  # the last one too


def test_pictures_are_drawn_into_the_first_folder_or_where_they_are_asked_for(
    make_run, tmp_path, capsys
):
    one, two = make_run("one"), make_run("two")
    report([one, two])
    assert f"{one / 'comparison.png'}\n" in capsys.readouterr().out
    (one / "comparison.png").unlink()
    report([one, two], pictures=tmp_path / "page")
    assert f"{tmp_path / 'page' / 'comparison.png'}\n" in capsys.readouterr().out
    assert (tmp_path / "page" / "comparison.png").stat().st_size > 0
    assert not (one / "comparison.png").exists()
