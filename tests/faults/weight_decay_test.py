"""What weight decay reaches: every parameter of every method is decided by the module it is in."""

import re

import jax
import pytest

from configs import compressors, latent_lm, m1
from latent_jax.chunking.fixed import compressors as kinds
from latent_jax.costs.lowering import assumed_vocabulary
from latent_jax.data import batch_spec
from latent_jax.methods.names import parse
from latent_jax.methods.registry import families
from latent_jax.methods.tasks import make_task
from latent_jax.methods.thought_settings import ThoughtsConfig
from latent_jax.training import OptimizerConfig
from latent_jax.training.decay import declared_decay
from latent_jax.training.optimizer import decay_mask, path_name
from tests.faults.settings_test import made

CONFIGS = {
    **{known.example: made(method=known.example) for known in families().values()},
    **{kind: made(method=f"Latent[{kind},c=2,k=16]") for kind in kinds()},
    **{q: made(method=f"Latent[conv1d,c=2,k=16,q={q}]") for q in ("rvq", "fsq")},
    "none": made(method="Latent[conv1d,c=2,q=none]"),
    "learned": made(method="Latent[conv1d,c=2,k=16]", **{"quantizer.codebook_update": "learned"}),
    "rvq, learned": made(
        method="Latent[ssm,c=2,k=16,q=rvq]", **{"quantizer.codebook_update": "learned"}
    ),
    "two stages": made(method="HNet[n=3,stages=2]", **{"hierarchy.widths": (8, 12)}),
    "stages of attention": made(method="HNet[n=3]", **{"hierarchy.outer": "attention"}),
    "patches of vectors": made(
        method="BLT[n=3]",
        **{"hierarchy.outer": "attention", "hierarchy.cross": 2, "hierarchy.ngrams": 9},
    ),
    "experts": made(method="ConceptMoE[n=1.5,v=300,experts=3]"),
    "llama": made(
        **{
            "model.positions": "rotary",
            "model.norm": "rms",
            "model.gated": True,
            "model.n_kv_heads": 1,
            "model.use_bias": False,
        }
    ),
    "remat": made(**{"model.remat": "block", "model.positions": "relative"}),
    "configs/m1.py": m1.get_config("size=nano"),
    "integers": m1.get_config("size=nano,quantized=true"),
}

NOT_DECAYED = (
    r"(^|/)(bias|scale|conv_bias|dt_bias|a_log|d|start)$",
    r"position_embedding/embedding$",
    r"position_bias/table$",
    r"^ngrams/embedding$",
    r"quantizer/(stages_\d+/)?offsets$",
    r"decompressor/(offsets|places)$",
    r"^stage/(inner/)*pad$",
    r"^thought/(marks|projection/(gain|share))$",
    r"(attention/(offset|log_slope)|place_score)$",
    r"^(blocks/)?(\w+_(gain|multiplier|shift)|position_bias)$",
)


def small(config):
    for section in (config.model, config.autoencoder):
        section.update(d_model=16, n_heads=2, n_layers=2, dtype="float32")
    config.model.n_kv_heads = min(config.model.n_kv_heads, 1)
    config.update(row_length=32, batch_size=4)
    if families()[parse(config.method).family].rotary:
        config.model.positions = "rotary"
    if families()[parse(config.method).family].reads_problems:
        config.row_length = ThoughtsConfig().row.length
    config.compressor.ssm_head_dim = 16
    return config


@pytest.mark.parametrize("name", CONFIGS)
def test_every_parameter_is_decided_explicitly(name):
    config = small(CONFIGS[name])
    task = make_task(config, assumed_vocabulary(config, 4.0))
    spec = batch_spec(4, config.row_length)
    declared = declared_decay(task, spec)
    params = jax.eval_shape(task.init, jax.random.key(0), batch_spec(1, 32))["params"]
    mask = decay_mask(params, declared, OptimizerConfig().no_weight_decay)
    for path, decays in jax.tree_util.tree_leaves_with_path(mask):
        path = path_name(path)
        assert path in declared, f"{path} is declared by no module"
        assert decays == (not any(re.search(p, path) for p in NOT_DECAYED)), path


def test_what_was_decayed_wrongly_is_there():
    """The tables of positions and codes that a pattern on names did not find."""
    seen = set()
    for name in ("ssm", "attention_pool", "learned", "rvq, learned"):
        config = small(CONFIGS[name])
        task = make_task(config, assumed_vocabulary(config, 4.0))
        declared = declared_decay(task, batch_spec(4, 32))
        seen |= {path for path, decays in declared.items() if not decays}
    wanted = ("quantizer/offsets", "stages_0/offsets", "decompressor/offsets")
    for end in (*wanted, "decompressor/places", "mixer/a_log", "mixer/d"):
        assert any(path.endswith(end) for path in seen), end


def test_configs_leave_it_to_the_modules():
    for config in (latent_lm.get_config(), compressors.get_config().runs.ssm_c8):
        assert config.optimizer.no_weight_decay == ()
