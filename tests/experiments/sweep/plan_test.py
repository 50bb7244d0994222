"""The plan of the paper's table: all cells, and no text is read for it."""

import json
import time

import pytest

from configs import blt, reasoning_arms
from latent_jax.costs.lowering import assumed_vocabulary
from latent_jax.data import data_config, open_corpus
from latent_jax.experiments.sweep import command, plan
from latent_jax.experiments.sweep.jobs import _solved
from latent_jax.experiments.sweep.loading import config_of, load_sweep
from latent_jax.methods.family import Sources
from latent_jax.methods.lester_2024 import DATASETS, NOMINAL_TOKENS, published
from latent_jax.methods.names import parse
from latent_jax.methods.row_codes import bytes_per_position, make_row_code
from latent_jax.tokenizers import Bytes


@pytest.fixture
def no_text(monkeypatch):
    def refuse(*words, **more):
        raise AssertionError("text is read, or a tokenizer trained")

    monkeypatch.setattr(plan, "open_corpus", refuse)
    monkeypatch.setattr(Sources, "kept", refuse)


def test_a_dry_run_plans_eighty_cells_without_text_beside_the_papers_counts(
    no_text, tmp_path, capsys
):
    began = time.process_time()  # other work on the machine does not count
    records = command.sweep_and_print("lester_2024", workdir=tmp_path, dry_run=True)
    seconds = time.process_time() - began
    assert len(records) == 80 and seconds < 20, seconds
    assert {record["size"] for record in records} == {"3m", "25m", "113m", "403m", "2b"}
    for record in records:
        row = DATASETS[published(parse(record["method"]))]
        assert record["planned_tokens_seen"] == NOMINAL_TOKENS
        assert record["bytes_per_token"] == pytest.approx(row.bytes_per_token)
        assert (record["paper_tokens"], record["paper_bytes"]) == (row.tokens, row.bytes)
        windows = record["method"].startswith("EqualInfoAC")
        assert windows == ("rule=paper" in record["method"])
        m1 = windows or record["method"].startswith("AC")
        assert m1 == (record["tokenizer_flops_per_byte"] > 0)
    printed = capsys.readouterr().out
    for count in ("26,188,185,600", "26,112,163,840", "25,936,527,360", "239,134,782,259"):
        assert count in printed
    assert "80 cells" in printed and "Ratios are the paper's: no text was read" in printed
    assert printed.count("26,214,400,000") == 17  # each method's tokens, and the bytes of Bytes


def test_a_sweep_of_text_plans_with_the_text(no_text, tmp_path):
    with pytest.raises(AssertionError, match="text is read"):
        command.sweep_and_print("laptop", workdir=tmp_path, dry_run=True)


def test_real_training_measures_its_ratios(no_text, tmp_path):
    _, sweep = load_sweep("lester_2024")
    with pytest.raises(AssertionError, match="text is read"):
        plan.plan(sweep, tmp_path)


def test_the_other_sweep_of_the_paper_is_planned_without_text_too(no_text, tmp_path, capsys):
    records = command.sweep_and_print("chinchilla", workdir=tmp_path, dry_run=True)
    assert len(records) == 64 and "paper_tokens" not in records[0]
    assert "beside the paper" not in capsys.readouterr().out


def test_arms_whose_rows_leave_out_other_problems_have_ratios_of_their_own(tmp_path):
    vocabularies, ratios = plan._Vocabularies(tmp_path), []
    for text, blocks_text in ((150, 70), (120, 100)):
        config = reasoning_arms.get_config("")
        config.data.cache_dir = str(tmp_path / "cache")
        config.chains.update(kind="arithmetic", n_problems=200, n_held_out=20)
        # A mark's expression has up to 20 characters; texts differ in length.
        config.thoughts.update(text=text, blocks_text=blocks_text, slots=24)
        config.row_length = text + blocks_text + 2 * 24
        vocabulary = vocabularies.of(config)
        assert vocabularies.of(config) is vocabulary
        code = make_row_code(config, Bytes())
        corpus = open_corpus(data_config(config))
        assert vocabulary.bytes_per_token == bytes_per_position(code, Bytes(), corpus)
        ratios.append(vocabulary.bytes_per_token)
    assert ratios[0] != ratios[1]


@pytest.fixture
def of_bytes(monkeypatch):
    """Let ids be bytes, for which no text is read."""
    monkeypatch.setattr(
        plan._Vocabularies, "of", lambda self, config: assumed_vocabulary(config, 1.0)
    )


def test_a_cell_costs_the_entropy_model_that_it_reads(of_bytes, tmp_path):
    costs = []
    for n_layers in (1, 2):
        entropy = blt.get_config().runs.entropy
        entropy.model.n_layers = n_layers
        folder = tmp_path / f"entropy{n_layers}"
        folder.mkdir()
        (folder / "config.json").write_text(entropy.to_json())
        _, sweep = load_sweep(f"chunking_laptop:arms=blt,entropy={folder},seeds=1")
        (record,) = plan.plan(sweep, tmp_path)
        solved = _solved(config_of(sweep, record["config"]), record)
        assert solved.model.d_model == record["d_model"]
        assert json.loads(solved.hierarchy.entropy_network)["n_layers"] == n_layers
        assert 0.9e6 < record["inference_flops_per_byte"] <= 1e6
        costs.append(record["entropy_model_flops_per_byte"])
    head = 2 * 257 * entropy.model.d_model
    assert costs[1] - head == pytest.approx(2 * (costs[0] - head), rel=1e-3)


def test_an_error_names_its_cell_and_no_flag_of_another_command(of_bytes, tmp_path):
    _, sweep = load_sweep("chunking_laptop:arms=blt,entropy=absent,seeds=1")
    with pytest.raises(
        ValueError, match=r"^BLT_n=4_.*: hierarchy\.entropy_model=absent: absent is"
    ):
        plan.plan(sweep, tmp_path)
    _, sweep = load_sweep("chunking_laptop:arms=bytes,bytes=20000,seeds=1")
    out = r"lower it, such as optimizer\.warmup_steps=2, or raise the budget"
    with pytest.raises(ValueError, match=f"^Bytes-1m-.*: 20 steps are not more .*{out}"):
        plan.plan(sweep, tmp_path)
