"""Every family of methods and every config, through the loop itself: trained, evaluated, saved,
read again, written with.
"""

import json
import pydoc_data.topics

import jax
import numpy as np
import pytest

from configs import (
    compressors,
    concept_moe,
    hnet,
    language_model,
    latent_lm,
    m1,
    m2,
    quickstart,
    synergy,
    token_pooling,
)
from latent_jax.commands.generate import make_writer
from latent_jax.experiments.evaluate import evaluate, load_run
from latent_jax.experiments.reading import open_reading
from latent_jax.experiments.run import run
from latent_jax.generation import Sampling
from latent_jax.methods.blt import needs_entropies
from latent_jax.methods.names import parse
from latent_jax.methods.registry import families
from latent_jax.reports.records import read_run
from latent_jax.training import Evaluator
from latent_jax.training.sharding import batch_sharding
from tests.tokenizers.byte_models import byte_model

METHODS = [family.example for family in families().values()]
WRITERS = {"AC", "BLT", "BPE", "Bytes", "EqualInfoAC", "GZip", "HNet", "Latent", "SentencePiece"}
WRITERS |= {"ConceptMoE", "Hourglass", "StaticAC", "Synergy", "TokenPooling"}
"""Families of this project that write; a new one may have no writer, and says so."""
METHODS += ["HNet[n=3,stages=2,control=0]"]
METHODS += ["Hourglass[n=4,up=attention]"]
METHODS += [f"TokenPooling[n=4,router={kind}]" for kind in ("spikes", "bpe,v=400")]
METHODS += [f"Latent[conv1d,c=2,{rest}]" for rest in ("k=16,q=fsq", "q=none")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Short documents of some 700 kB in all, a few of them, and a byte model that drives codes."""
    folder = tmp_path_factory.mktemp("every_family")
    text = "".join(pydoc_data.topics.topics.values())
    lines = [json.dumps({"text": text[i : i + 100]}) for i in range(0, len(text), 100)]
    (folder / "text.jsonl").write_text("\n".join(lines))
    (folder / "few.jsonl").write_text("\n".join(lines[:200]))
    (folder / "m1.msgpack").write_bytes(byte_model(lanes=8).to_bytes())
    return folder


CONFIGS = {
    "latent_lm": lambda: latent_lm.get_config("size=nano"),
    "quickstart": lambda: quickstart.get_config().runs.latent,
    "compressors": lambda: compressors.get_config().runs.linear_merge_c4,
    "compressors, ssm": lambda: compressors.get_config().runs.ssm_c8,
    "m1": lambda: m1.get_config("size=nano"),
    "m1, adamw": lambda: m1.get_config("size=nano,optimizer=adamw,windows=anywhere"),
    "hnet": lambda: hnet.get_config("n=3,stages=2").runs.hnet,
    "token_pooling": lambda: token_pooling.get_config("router=stride").runs.pooling,
    "concept_moe": lambda: concept_moe.get_config("v=300,experts=3").runs.concept_moe,
    "synergy": lambda: synergy.get_config().runs.synergy,
    "m2": lambda: m2.get_config("size=100k,method=Bytes,optimizer=adafactor"),
    "m2, latent": lambda: m2.get_config("size=100k,method=Latent[conv1d,c=4,k=16]"),
}


def shrink(config, folder):
    config.update(row_length=32, batch_size=8, evaluation_bytes=500, context_bytes=0)
    config.budget.update(bytes=0.0, tokens=0.0, steps=2.0)
    for section in (config.model, config.autoencoder):
        section.update(d_model=16, n_heads=2, n_layers=1, d_ff=0)
    config.compressor.ssm_head_dim = 16
    config.optimizer.warmup_steps = 1
    config.data.update(source="files", files=(f"{folder}/text.jsonl",), cache_dir=f"{folder}/cache")
    config.training.log_every = 1
    return config


def tiny(method, folder):
    config = shrink(language_model.get_config(f"method={method},size=nano"), folder)
    # A compiled code would be compiled for this byte model, which takes a minute.
    if families()[parse(method).family].is_driven(parse(method)):
        config.tokenizer.update(m1=f"{folder}/m1.msgpack", lanes=8)
        config.data.files = (f"{folder}/few.jsonl",)
    if families()[parse(method).family].rotary:
        config.model.positions = "rotary"
    if families()[parse(method).family].reads_problems:
        thoughts = config.thoughts
        length = thoughts.text + thoughts.blocks_text + thoughts.blocks * thoughts.slots
        config.row_length = length
        config.data.update(source="chains", files=())
        config.chains.n_problems = 400
    if needs_entropies(parse(method)):
        config.hierarchy.entropy_model = str(entropy_run(folder))
    return config


def entropy_run(folder):
    """Return the folder of a byte model whose entropies others read."""
    if not (folder / "entropy").exists():
        config = tiny("Bytes", folder)
        config.model.positions = "rotary"
        run(config, folder / "entropy", pictures=False)
    return folder / "entropy"


SLOW = ("compressors, ssm", "synergy")
"""Of which the same file is run with something that compiles faster."""


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=pytest.mark.slow) if name in SLOW else name for name in CONFIGS],
)
def test_every_config_runs(name, folder, tmp_path):
    config = shrink(CONFIGS[name](), folder)
    kept = json.loads(json.dumps(config.to_dict()))  # tuples become lists
    record = run(config, tmp_path)
    assert record["step"] == 2 and 0 < record["bits_per_byte"] < 20
    assert evaluate(tmp_path, max_bytes=500)["bits_per_byte"] == record["bits_per_byte"]
    stored = json.loads((tmp_path / "config.json").read_text())
    stored["training"]["best_metric"] = kept["training"]["best_metric"]
    assert {**stored, "data": None} == {**kept, "data": None}, "what was asked for is what ran"


def test_a_mixture_is_scored_by_its_parts_too(folder, tmp_path):
    config = tiny("Bytes", folder)
    parts = (f"whole=1:{folder}/text.jsonl", f"some=1:{folder}/few.jsonl")
    config.data.update(files=(), mixture=parts)
    config.evaluation_bytes = 0
    record = run(config, tmp_path)
    scores = [record[f"{part}bits_per_byte"] for part in ("", "whole_", "some_")]
    assert len(set(scores)) == 3 and all(5 < score < 12 for score in scores)


@pytest.mark.parametrize("method", METHODS)
def test_it_trains_evaluates_writes_and_is_read_again(method, folder, tmp_path, capsys):
    config = tiny(method, folder)
    record = run(config, tmp_path)
    metric = "bits_per_byte"
    if "q=none" in method:
        metric = "reconstruction_bits_per_byte"
        assert "bits_per_byte" not in record, "continuous latents have no code length"
    words = metric.replace("_per_", "/").replace("_", " ")
    assert f"validation {record[metric]:.4f} {words}" in capsys.readouterr().err

    kept = read_run(tmp_path)
    *_, last = train = [row for row in kept.records if row["split"] == "train"]
    assert [row["step"] for row in train] == [1, 2] and kept.metric == metric
    assert last["bytes_seen"] > 0 and (tmp_path / "curves.png").stat().st_size > 0
    ids = 2 * config.batch_size * config.row_length
    if "tokens" in families()[parse(method).family].amounts:
        assert last["tokens_seen"] == ids // (2 if method.startswith("Latent") else 1)
    else:  # a row is a problem
        assert last["problems_seen"] == 2 * config.batch_size

    again = evaluate(tmp_path, max_bytes=500)
    assert again[metric] == record[metric]
    trained = load_run(tmp_path)
    _check_that_scores_are_sums(trained)
    try:
        writer = make_writer(trained)
    except ValueError as error:
        assert "q=none" in method or parse(method).family not in WRITERS
        assert "no language model to write with" in str(error) or "no writer" in str(error)
        return
    (written,) = writer.write(
        [b"A lambda "], jax.random.split(jax.random.key(0), 1), Sampling(), n_bytes=4
    )
    assert written.prompt == b"A lambda " and written.nats > 0 and len(written.text) <= 4


def _check_that_scores_are_sums(trained):
    """A mean would make a batch of two halves score like one of them."""
    rows = open_reading(trained.config).evaluation(
        split="validation",
        batch_size=trained.config.batch_size,
        row_length=trained.config.row_length,
        max_bytes=500,
        sharding=batch_sharding(trained.mesh),
    )
    batch = jax.device_get(next(iter(rows)))
    is_first_B = np.arange(trained.config.batch_size) % 2 == 0
    evaluator = Evaluator(trained.task, trained.mesh)

    def scores(keep_B):
        cut = {**batch, "weights": batch["weights"] * keep_B[:, None]}
        cut |= {name: x * keep_B for name, x in batch.items() if name.startswith("n_")}
        return evaluator(trained.variables, [cut])

    whole, *halves = (scores(keep_B) for keep_B in (is_first_B >= 0, is_first_B, ~is_first_B))
    assert all(half["n_bytes"] for half in halves)
    for name, value in whole.items():
        np.testing.assert_allclose(sum(half[name] for half in halves), value, 1e-3, err_msg=name)
