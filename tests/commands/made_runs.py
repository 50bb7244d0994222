"""Runs that were never trained and lie in no folder, for tests of analyses."""

import types

import jax

from configs import common
from latent_jax.tokenizers import Bytes
from latent_jax.training import make_mesh
from tests.small_hierarchy import T


def made_run(method, task, variables, tokenizer=None):
    """Return a run of a method; its tokenizer is that of bytes if none is given."""
    tokenizer = tokenizer or Bytes()
    config = common.default()
    config.update(method=method, row_length=T, batch_size=8)
    mesh = make_mesh("pmap", devices=jax.devices()[:1])
    whole = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())
    return types.SimpleNamespace(
        config=config,
        tokenizer=tokenizer,
        code=tokenizer,
        task=task,
        variables=jax.device_put(variables, whole),
        metadata={"step": 5},
        mesh=mesh,
    )
