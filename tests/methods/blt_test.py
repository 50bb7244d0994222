"""The family BLT: names, what goes together, its networks, and the config file."""

import json

import pytest

from configs import blt
from latent_jax.layers.cross_reach import CrossReach
from latent_jax.methods.entropy_network import describe_network
from latent_jax.methods.ledger import ledger
from latent_jax.methods.names import parse
from latent_jax.methods.settings import check_settings
from latent_jax.methods.tasks import make_task
from latent_jax.methods.unused import unused_options
from tests.methods.hierarchical_configs import VOCABULARY, config_of, task_of


@pytest.mark.parametrize(
    ("name", "control", "text"),
    [
        ("BLT[n=4.5]", 1, "BLT[n=4.5]"),
        ("BLT[n=6,router=rise]", 1, "BLT[n=6,router=rise]"),
        ("BLT[n=6,control=0,theta=0.9]", 0, "BLT[n=6,control=0,theta=0.9]"),
        ("BLT[n=6,control=0,theta=1.335442066192627]", 0, "BLT[n=6,control=0]"),
        ("BLT[n=4.5,router=stride]", 0, "BLT[n=4.5,router=stride]"),
        ("BLT[n=6,router=whitespace,control=0]", 0, "BLT[n=6,router=whitespace]"),
        ("BLT[n=4,router=cosine]", 1, "BLT[n=4,router=cosine]"),
    ],
)
def test_names_state_what_is_unusual(name, control, text):
    method = parse(name)
    assert method["control"] == control and str(method) == text
    config = task_of(name).model_config
    assert bool(config.stage.chunker.control_steps) == control
    reads = method["router"] in ("entropy", "rise")
    assert (config.entropy is not None) == reads
    options = (("theta", method["theta"]),) if reads else ()
    assert config.stage.chunker.router_options == options


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("BLT", r"lacks n \(bytes per patch"),
        ("BLT[n=1]", "n must be more than 1"),
        ("BLT[n=4,router=rise,control=0]", "rises are smaller: state theta, or leave control"),
        ("BLT[n=4,router=stride,control=1]", "the router stride decides by itself"),
        ("BLT[n=4,theta=1.5]", "theta is the threshold of entropies under control=0; .*control=1"),
        ("BLT[n=4,router=whitespace,theta=1.5]", "router=whitespace: leave it out"),
        ("BLT[n=4,router=entropi]", "unknown router 'entropi' .did you mean 'entropy'"),
        (
            "BLT[n=4,boundaries=rise]",
            "'boundaries' of BLT is called 'router' now: write router=rise",
        ),
        ("BLT[n=4,control=0,theta=200.5]", r"theta must be in \[0, 100\]"),
        ("HNet[n=4,router=entropy]", "unknown router 'entropy'"),
    ],
)
def test_names_that_make_no_sense_are_refused(name, message):
    with pytest.raises(ValueError, match=message):
        parse(name)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"hierarchy__cross": 3}, "cross=3 vectors .* model.d_model=128 is no multiple"),
        ({"hierarchy__cross": 2, "hierarchy__outer": "mamba"}, "outer to attention, got 'mamba'"),
        ({"hierarchy__widths": (8, 8)}, "has 2 widths, and BLT.n=4.5. has 1 stages"),
        ({"model__positions": "learned"}, "needs model.positions=rotary; got 'learned'"),
        ({"hierarchy__entropy_network": "{"}, "hierarchy.entropy_network is no JSON of a network"),
        ({"hierarchy__entropy_network": '{"depth": 2}'}, "hierarchy.entropy_network: .*depth"),
        ({"snippets__every": 2}, "keys of a GPT over a tokenizer's ids"),
    ],
)
def test_configurations_that_make_no_sense_are_refused(words, message):
    with pytest.raises(ValueError, match=message):
        task_of("BLT[n=4.5]", **words)


def test_a_router_that_would_not_learn_is_refused():
    """Scores of cross-attention read no probability, and neither does what repeats its result."""
    for kind in ("cosine", "bernoulli", "gumbel"):
        with pytest.raises(ValueError, match=rf"cross=2: no gradient reaches the router {kind}"):
            task_of(f"BLT[n=4,router={kind}]", hierarchy__cross=2)
        assert task_of(f"BLT[n=4,router={kind}]").model_config.stage.chunker.pooling == "mean"
    for kind in ("rise", "stride"):
        task_of(f"BLT[n=4,router={kind}]", hierarchy__cross=2)


def test_patches_are_several_vectors_or_one():
    plain = task_of("BLT[n=4.5]", hierarchy__decoder_layers=3).model_config.stage
    assert plain.width == plain.chunk_width == plain.inner.width == 128
    assert (plain.outer.stack.n_layers, plain.after.stack.n_layers) == (2, 3)
    assert (plain.chunker.pooling, plain.way_back, plain.residual) == ("mean", "repeat", "identity")
    crossed = task_of("BLT[n=4.5]", hierarchy__cross=4).model_config.stage
    assert crossed.width == 32 and crossed.chunk_width == crossed.back_width == 128
    assert isinstance(crossed.after, CrossReach) and crossed.after.n_vectors == 4
    grams = task_of("BLT[n=4.5]", hierarchy__ngrams=1000)
    assert grams.model_config.ngrams == 1000


def test_the_bill_has_the_entropy_model_and_its_training_is_not_repeated():
    config = blt.get_config().runs
    config.patches.hierarchy.entropy_network = describe_network(config.entropy)
    task = make_task(config.patches, VOCABULARY)
    entropy = make_task(config.entropy, VOCABULARY)
    parts = task.component_flops
    assert parts["entropy_model"] == pytest.approx(entropy.flops_per_byte)
    rest = task.flops_per_byte - parts["entropy_model"]
    assert task.train_flops_per_byte == pytest.approx(3 * rest + parts["entropy_model"])
    record = ledger(task, 256, 1.0)
    assert record["entropy_model_flops_per_byte"] == parts["entropy_model"]
    assert record["inference_flops_per_byte"] == task.flops_per_byte
    assert task.frozen == ("params/entropy_model/.*",)
    assert len(task.stacks) == 3, "the entropy model is not trained"
    none = task_of("BLT[n=4.5,router=stride]")
    assert none.frozen == () and none.borrowed == {} and "entropy_model" not in none.component_flops


def test_a_network_of_entropies_is_that_of_its_run():
    config = blt.get_config().runs.entropy
    stated = json.loads(describe_network(config))
    assert stated["d_model"] == config.model.d_model and stated["max_length"] == config.row_length
    found = task_of("BLT[n=4]", hierarchy__entropy_network=json.dumps(stated), row_length=64)
    reach = found.model_config.entropy
    assert reach.window == reach.stack.max_length == config.row_length
    config.model.positions = "learned"
    with pytest.raises(ValueError, match=r"its model\.positions is learned"):
        describe_network(config)
    config.method = "BPE[v=512]"
    with pytest.raises(ValueError, match=r"its method is BPE\[v=512\]"):
        describe_network(config)


def test_what_is_set_and_not_read_is_said():
    (line,) = unused_options(config_of("HNet[n=4]"), {"hierarchy.ngrams": 9})
    assert line.startswith("hierarchy.ngrams=9 has no effect: BLT would read it")
    config = config_of("BLT[n=4,router=stride]")
    (line,) = unused_options(config, {"hierarchy.entropy_model": "runs/x"})
    assert "BLT with a router that reads entropies would read it" in line
    assert not unused_options(config_of("BLT[n=4]"), {"hierarchy.entropy_model": "runs/x"})


def test_the_config_file_has_the_entropy_model_before_the_patches():
    runs = blt.get_config("n=3.5,router=rise,control=0,theta=0.2").runs
    assert list(runs) == ["bytes", "entropy", "patches"], "the order in which they are trained"
    assert runs.patches.method == "BLT[n=3.5,router=rise,control=0,theta=0.2]"
    assert runs.patches.hierarchy.entropy_model == "run:entropy"
    for config in runs.values():
        check_settings(config)
        assert make_task(config, VOCABULARY).flops_per_byte > 1e5
    assert set(blt.get_config("router=whitespace,baseline=false").runs) == {"patches"}
    assert {run.data.source for run in runs.values()} == {"python_docs"}
    # Entropies of another text than that of the patches would be worse ones.
    for run in blt.get_config("files=text/*.xz").runs.values():
        assert (run.data.source, run.data.files) == ("files", ("text/*.xz",))
    with pytest.raises(ValueError, match="'boundaries' is called 'router' now: write router=rise"):
        blt.get_config("boundaries=rise")
