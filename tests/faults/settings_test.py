"""Every key of a configuration, with every kind of value that makes no sense."""

import math
import re

import pytest

from configs import common, m1
from configs.print_config import read_comments
from latent_jax.contracts import Evaluation
from latent_jax.costs.lowering import assumed_vocabulary, count_flops
from latent_jax.experiments.checks import check_best_metric, check_metric_name, metric_names
from latent_jax.experiments.run import prepare, run
from latent_jax.experiments.study import run_config
from latent_jax.methods.names import parse
from latent_jax.methods.registry import families
from latent_jax.methods.row_codes import config_batch_spec
from latent_jax.methods.settings import WITHOUT_EFFECT, check_settings
from latent_jax.methods.solve import solve_shape
from latent_jax.methods.tasks import make_task
from latent_jax.methods.thought_settings import ThoughtsConfig
from latent_jax.ranges import INT32, check
from tests.faults.conftest import tiny

HUGE = 10**40
NOT_NUMBERS = ("seven", None, True, [1])


def made(**words):
    """Return a configuration with words by dotted key, whatever their type."""
    config = common.default()
    config.budget.steps = 1000.0
    for key, value in words.items():
        section, *path = config, *key.split(".")
        for part in path[:-1]:
            section = section[part]
        with section.ignore_type():
            section[path[-1]] = value
    return config


def flat(config, prefix=""):
    for key, value in config.items():
        if hasattr(value, "items"):
            yield from flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


DEFAULTS = dict(flat(made()))
COMMENTS = read_comments()
NUMBERS = [key for key, value in DEFAULTS.items() if type(value) in (int, float)]
CHOICES = ("head", "latent.beta_schedule", "latent.lm_gradient", "quantizer.metric")
CHOICES += ("quantizer.gradient", "quantizer.codebook_update", "optimizer.name", "data.source")
CHOICES += ("optimizer.schedule", "training.strategy", "method")
CHOICES += ("hierarchy.outer", "hierarchy.stage_rates", "hierarchy.documents")
CHOICES += ("hierarchy.advantage",)
CHOICES += tuple(
    f"{section}.{key}"
    for section in ("model", "autoencoder")
    for key in ("activation", "norm", "positions", "dtype", "remat", "attention_implementation")
)
ZERO_IS_A_NUMBER = ("seed", "chains.seed", "quantizer.commitment_weight", "training.restore_step")
"""Where 0 is one of the values, and means nothing else."""


def test_defaults_are_fine_and_every_section_is_walked():
    check_settings(made())
    assert len(NUMBERS) > 60 and set(CHOICES) <= set(DEFAULTS)


@pytest.mark.parametrize("key", NUMBERS)
def test_a_number_that_makes_no_sense_is_refused_by_its_key(key):
    for value in (math.nan, math.inf, -math.inf, HUGE, -HUGE, *NOT_NUMBERS):
        # A section of ml_collections takes a bool for a float, and makes a number of it.
        if value is True and isinstance(DEFAULTS[key], float):
            continue
        # Widths and depths have no default of their own.
        end = "" if key.endswith(("d_model", "n_heads", "n_layers")) else ": (its|the) "
        with pytest.raises(ValueError, match=rf"^{re.escape(key)} must be .*; got .*{end}"):
            check_settings(made(**{key: value}))


@pytest.mark.parametrize("key", NUMBERS)
def test_minus_one_and_zero_are_refused_or_mean_something(key):
    comment = COMMENTS[key]
    for value in (-1, 0):
        try:
            check_settings(made(**{key: value}))
        except ValueError as error:
            assert key in str(error) or str(error).startswith("set exactly one of budget"), error
        else:
            says = re.search(rf"(?<![\w.-]){value} (=|\w+)", comment)
            assert (value == 0 and key in ZERO_IS_A_NUMBER) or says, (key, value, comment)


def quantized(**words):
    """The configuration of the integer M1 with words by dotted key."""
    config = m1.get_config("quantized=true")
    for key, value in words.items():
        config.update_from_flattened_dict({key: value})
    return config


@pytest.mark.parametrize("method", ["GZip[v=256]", "AC[v=256]", "BPE[v=257]", "StaticAC[v=256]"])
def test_only_a_model_of_bytes_is_trained_in_integers(method):
    check_settings(quantized())
    with pytest.raises(ValueError, match=r"quantized=true trains the byte model .* at Bytes, or"):
        check_settings(quantized(method=method))
    check_settings(quantized(method=method, quantized=False))


@pytest.mark.parametrize(
    ("key", "wrong"),
    [
        ("head", "blocks"),
        ("head", "fused"),
        ("model.dtype", "bfloat16"),
        ("model.remat", "dots"),
        ("model.remat", "block"),
        ("model.attention_implementation", "xla"),
        ("model.scan_unroll", 2),
    ],
)
def test_what_integers_do_not_follow_is_refused(key, wrong):
    message = rf"^{re.escape(key)}={wrong} has no effect under quantized=true: leave it at"
    with pytest.raises(ValueError, match=message):
        check_settings(quantized(**{key: wrong}))
    check_settings(quantized(**{key: wrong, "quantized": False}))
    for value in WITHOUT_EFFECT[key]:
        check_settings(quantized(**{key: value}))


def test_flops_of_integers_are_counted_with_the_keys_at_their_defaults():
    config = quantized(row_length=32, batch_size=2)
    config.model.update(d_model=16, n_heads=2, n_layers=1, d_ff=32)
    config.snippets.every = 0
    counted = count_flops(config, assumed_vocabulary(config, 1.0), ("evaluation",))
    assert counted["evaluation"] > 32 * 2 * 2 * 16 * 257


@pytest.mark.parametrize("key", CHOICES)
def test_a_choice_is_refused_by_its_key(key):
    for value in ("nonsense", "", math.nan, 3, None):
        with pytest.raises(ValueError, match=re.escape(key)):
            check_settings(made(**{key: value}))


@pytest.mark.parametrize("key", sorted(set(DEFAULTS) - set(NUMBERS)))
def test_text_and_lists_have_their_types(key):
    with pytest.raises(ValueError, match=re.escape(key)):
        check_settings(made(**{key: 5}))
    with pytest.raises(ValueError, match=re.escape(key)):
        check_settings(made(**{key: [math.nan]}))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"evaluation_bytes": -5}, "evaluation_bytes must be at least 0; got -5: its default is 0"),
        ({"latent.beta": -1.0}, r"latent\.beta must be at least 0; got -1\.0: the nearest is 0"),
        ({"context_bytes": -1}, "context_bytes must be at least 0; got -1: its default is 0"),
        ({"inference_flops_per_byte": math.nan}, "must be a finite number at least 0; got nan"),
        ({"data.validation_percent": 0.0}, r"more than 0; got 0: a run is scored on its valid"),
        (
            {"optimizer.b2": 1.0},
            r"optimizer\.b2 must be in \[0, 1\); got 1\.0: its default is",
        ),
        ({"budget.steps": 1e10}, f"budget.steps must be at most {INT32}; got 10000000000.0"),
        ({"budget.other": "bytes:1e999"}, "budget.other: a budget of inf bytes trains nothing, or"),
        ({"budget.extend": "bytes:1.2.3"}, r"budget.extend: 'bytes:1\.2\.3' is no budget"),
        ({"optimizer.no_weight_decay": ("(",)}, r"no_weight_decay: '\(' is no regular expression"),
        ({"training.init_patterns": ("[",)}, r"init_patterns: '\[' is no regular expression"),
        ({"latent.freeze": ("encodr",)}, r"latent\.freeze\[0\] 'encodr' \(did you mean 'encoder'"),
        ({"quantizer.fsq_levels": (8, 1)}, r"fsq_levels\[1\] must be at least 2; got 1"),
        ({"model.n_heads": 5}, "model: n_heads must divide d_model: 128 is no multiple of 5"),
        ({"snippets.every": 3}, r"snippets.every=3 does not divide the 32 rows of a micro-batch"),
        ({"data.cache_dir": " "}, r"data\.cache_dir is empty: name the folder that keeps built"),
        ({"data.validation_percent": 60.0, "data.test_percent": 40.0}, "their sum is below 100"),
        ({"policy.kl": 0.1}, r"policy\.kl=0\.1 is of the second phase .* it is of Thoughts"),
        (
            {"method": "Thoughts[none]", "data.source": "chains", "policy.updates": 2},
            r"policy\.updates=2 is of the second phase .* leave it at 1, or set policy\.group too",
        ),
    ],
)
def test_what_is_said(words, message):
    with pytest.raises(ValueError, match=message):
        check_settings(made(**words))


@pytest.mark.parametrize("words", [{"seed": math.nan}, {"z_loss": math.inf}, {"batch_size": 0}])
def test_nothing_is_written_before(words, tmp_path):
    for function in (run, run_config):
        with pytest.raises(ValueError, match=next(iter(words))):
            function(made(**words, **{"data.cache_dir": str(tmp_path / "c")}), tmp_path / "run")
        assert not list(tmp_path.iterdir())


def test_a_misspelt_compressor_option_is_found_before_text_is_read(tmp_path):
    config = made(method="Latent[conv1d,c=8,k=64]", **{"compressor.kernel_size": 3})
    config.data.cache_dir = str(tmp_path / "corpora")
    with pytest.raises(ValueError, match="kernel_size 3 is below the factor 8"):
        prepare(config)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("flops", [1e17, 1e18])
def test_no_bound_of_flops_widens_a_model_for_ever(flops):
    config = made(inference_flops_per_byte=flops)
    with pytest.raises(ValueError, match=r"allows a model\.d_model beyond 131072"):
        solve_shape(config, assumed_vocabulary(config, 4.0))


@pytest.mark.parametrize("hint", [int, float])
def test_a_bool_is_no_number(hint):
    with pytest.raises(ValueError, match=r"x must be a \w+ number; got True \(bool\)"):
        check("x", True, hint)


@pytest.mark.parametrize("name", [known.example for known in families().values()])
def test_every_family_measures_its_headline_and_refuses_what_it_does_not(name):
    shape = dict(d_model=16, n_heads=2, n_layers=1)
    words = {f"{s}.{k}": v for s in ("model", "autoencoder") for k, v in shape.items()}
    config = made(method=name, row_length=32, **words)
    if families()[parse(name).family].rotary:
        config.model.positions = "rotary"
    if families()[parse(name).family].reads_problems:
        config.row_length = ThoughtsConfig().row.length
    task = make_task(config, assumed_vocabulary(config, 4.0))
    spec = config_batch_spec(config, 2)
    assert task.headline in metric_names(task, spec)
    evaluations = [Evaluation(list), Evaluation(list, prefix="wiki_")]
    check_best_metric(task, f"wiki_{task.headline}", spec, evaluations)
    check_metric_name(task, f"wiki_{task.headline}", config.row_length)
    for wrong in ("nope", "seconds", "wiki_nope"):
        with pytest.raises(ValueError, match=rf"unknown training\.best_metric '{wrong}'.*known: "):
            check_best_metric(task, wrong, spec, evaluations)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"training.accumulation": 3}, r"accumulation"),
        ({"optimizer.warmup_steps": 9}, r"6 steps are not more than optimizer\.warmup_steps=9"),
        ({"training.init_from": "nowhere/run"}, r"training\.init_from=nowhere/run does not exist"),
        ({"training.best_metric": "nope"}, r"unknown training\.best_metric 'nope'.*bits_per_byte"),
        ({"method": "Latent[conv1d,c=64,k=16]"}, r"row_length=32 bytes is shorter than a latent"),
    ],
)
def test_it_is_refused_before_any_text_is_read(words, message, text, tmp_path):
    config = tiny(text)
    config.data.cache_dir = str(tmp_path / "cache")
    config.update_from_flattened_dict(words)
    with pytest.raises(ValueError, match=message):
        run(config, tmp_path / "run")
    assert [*tmp_path.iterdir()] == []


def test_a_new_run_has_no_checkpoint_to_go_back_to(text, tmp_path):
    config = tiny(text, restore_step=5)
    with pytest.raises(ValueError, match=r"restore_step=5, and there is no checkpoint in .* yet"):
        run(config, tmp_path / "run")
    assert [*tmp_path.iterdir()] == []
