"""A small reasoner over bytes, for chains of two breakpoints and three operations."""

import functools

import jax
import numpy as np

from latent_jax.data.chains import Chains, ChainsConfig
from latent_jax.data.problem_rows import ProblemCode, ProblemLayout
from latent_jax.models.gpt import GPTConfig
from latent_jax.models.reasoner import ReasonerConfig
from latent_jax.tasks.thinker import Thinker
from latent_jax.tasks.thought_slots import Curriculum
from latent_jax.tokenizers import Bytes

TOKENIZER = Bytes()
LAYOUT = ProblemLayout(text=26, blocks_text=14, n_blocks=2, n_slots=3)
CONFIG = ReasonerConfig(
    model=GPTConfig(
        vocab_size=TOKENIZER.vocab_size,
        max_length=26,
        n_layers=1,
        d_model=16,
        n_heads=2,
        positions="rotary",
        norm="rms",
        use_bias=False,
    ),
    layout=LAYOUT,
)
THINKER = Thinker(CONFIG, TOKENIZER.separator_id, "latent", Curriculum(3))


@functools.cache
def small_batch(layout=LAYOUT):
    """Four problems of three operations between breakpoints."""
    code = ProblemCode(TOKENIZER, layout, written="expression")
    problems = Chains(ChainsConfig(n_problems=4)).documents()
    rows = [code.encode_example(problem) for problem in problems]
    made = {name: np.stack([row.fields[name] for row in rows]) for name in code.fields}
    made["weights"] = np.ones((4, layout.length), np.float32)
    for unit in code.amounts:
        made[f"n_{unit}"] = np.array([row.amounts[unit].sum() for row in rows], np.int32)
    return made


@functools.cache
def moved_variables(task):
    """Return drawn parameters of a task, moved away from zero."""
    drawn = task.init(jax.random.key(0), small_batch())
    leaves, tree = jax.tree.flatten(drawn)
    keys = jax.random.split(jax.random.key(1), len(leaves))
    moved = [x + 0.1 * jax.random.normal(k, x.shape) for x, k in zip(leaves, keys, strict=True)]
    return jax.tree.unflatten(tree, moved)


def forward_flops(thinker):
    """Return the forward FLOPs of a row."""
    return sum(cost.forward for cost in thinker.row_costs().values())
