"""All that the analysis of thoughts takes from the model, one compiled pass for each batch."""

import functools
from collections.abc import Iterable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from latent_jax.analysis.thoughts.decoded import nearest
from latent_jax.analysis.thoughts.interventions import MASKED, OWN, TEXT, exchanged, ways
from latent_jax.analysis.thoughts.mass import WatchedTrunks, mass_sums
from latent_jax.contracts import Batch
from latent_jax.models.trunks import Trunks
from latent_jax.tasks.problem_batch import Problems
from latent_jax.tasks.result_scores import results_of_blocks, score_given, score_results
from latent_jax.tasks.thinker import Thinker


@functools.partial(jax.jit, static_argnames="thinker")
def observe(
    thinker: Thinker, params: Mapping[str, Any], batch: Batch, key: jax.Array
) -> tuple[dict[str, Any], dict[str, jax.Array]]:
    """Return arrays with a leading axis of rows, and sums; see `observe_all`.

    Args:
        thinker: with blocks.
        params: its collection "params".
        batch: problems.
        key: typed, of the noise.
    """
    trunks, problems = Trunks(thinker.config, params), Problems.of(batch, thinker.config.layout)
    opens_BJ, is_of_BJN = problems.breakpoints_BJ, results_of_blocks(problems)
    found = thinker.run(trunks, problems, jnp.int32(thinker.n_thoughts))
    text, n_BJ = found.text, found.slots.contents.n_BJ
    v_BJKD, behind_BJKD = (
        x.swapaxes(1, 2) for x in (found.thoughts.v_BSJD[:, 1:], found.thoughts.h_BSJD[:, 1:])
    )
    n_thoughts = thinker.most_in_use
    rows = exchanged(v_BJKD, n_BJ, opens_BJ, key, n_thoughts)
    is_step_BN = problems.block_BN > 0
    others = jax.lax.map(
        lambda row: score_given(thinker, trunks, text, problems, *row, is_step_BN), rows[:2]
    )
    is_of_BJT = problems.is_result_BT[:, None] & (
        problems.segment_BT[:, None] == jnp.arange(2, opens_BJ.shape[1] + 2)[None, :, None]
    )
    is_block_BJ = opens_BJ > 0
    of_blocks = problems.block_ids_BN, is_of_BJN, is_step_BN
    own = score_results(trunks, found.before_BND, *of_blocks)
    nothing_BJ = jnp.zeros_like(n_BJ)
    masked_BND, _ = thinker.read(trunks, text, problems, n_BJ, found.thoughts, nothing_BJ)
    masked = score_results(trunks, masked_BND, *of_blocks)
    scored = {OWN: (own, is_block_BJ), MASKED: (masked, is_block_BJ)}
    for at, name in enumerate(ways(n_thoughts)):
        scored[name] = jax.tree.map(lambda x: x[at], others), rows[2][at]  # noqa: B023
    scored[TEXT] = score_results(trunks, text.x_BTD, problems.ids_BT, is_of_BJT), is_block_BJ
    watched = WatchedTrunks(thinker.config, params)
    thinker.read(watched, text, problems, n_BJ, found.thoughts)
    _, slot_weights, _ = watched.kept[-1]
    first_BJN = is_of_BJN & (problems.place_BN == 0)[:, None]
    result_BJ = jnp.max(jnp.where(first_BJN, problems.block_ids_BN[:, None], -1), axis=-1)
    near = functools.partial(nearest, trunks.table_VD)
    seen = {
        "scored": {
            name: (own.nats_BJ, own.is_right_BJ, is_compared_BJ, own.said_BN)
            for name, (own, is_compared_BJ) in scored.items()
        },
        "problems": problems._asdict() | {"breakpoints_BJ": opens_BJ},
        "is_of_BJN": is_of_BJN,
        "n_BJ": n_BJ,
        "result_BJ": result_BJ,
        "v_BJKD": v_BJKD.astype(jnp.float32),
        "behind_BJKD": behind_BJKD.astype(jnp.float32),
        "thoughts_by_cosine": near(v_BJKD, by_cosine=True),
        "thoughts_by_logits": near(found.thoughts.h_BSJD[:, :-1].swapaxes(1, 2), by_cosine=False),
        "text_by_cosine": near(text.x_BTD, by_cosine=True),
        "text_by_logits": near(text.x_BTD, by_cosine=False),
    }
    return seen, mass_sums(slot_weights, problems, n_BJ)


def observe_all(
    thinker: Thinker,
    params: Mapping[str, Any],
    batches: Iterable[Batch],
    max_problems: int,
    key: jax.Array,
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Return what was seen of problems, P rows in each array, and sums over them.

    Args:
        thinker: with blocks.
        params: its collection "params".
        batches: held-out problems.
        max_problems: P, at most; 0 = all. Sums count whole batches.
        key: typed, of the noise.

    Returns:
        "scored": way -> (nats, whether right, whether compared, likeliest tokens); "problems", the
        fields of `Problems`; vectors and nearest tokens; and the sums of `mass_sums`.

    Raises:
        ValueError: there is no problem.
    """
    parts, sums, n_problems = [], [], 0
    for number, batch in enumerate(batches):
        is_problem_B = np.asarray(batch["n_problems"]) > 0
        fields = {name: jnp.asarray(x) for name, x in batch.items()}
        seen, added = observe(thinker, params, fields, jax.random.fold_in(key, number))
        parts.append(jax.tree.map(lambda x: np.asarray(x)[is_problem_B], seen))  # noqa: B023
        sums.append(jax.tree.map(np.asarray, added))
        n_problems += int(is_problem_B.sum())
        if max_problems and n_problems >= max_problems:
            break
    if not n_problems:
        raise ValueError("the held-out split has no problem that fits into a row")
    stop = max_problems or n_problems
    seen = jax.tree.map(lambda *x: np.concatenate(x)[:stop], *parts)
    return seen, jax.tree.map(lambda *x: sum(x), *sums)
