"""Supervision of thoughts by a teacher: the state behind them is that behind the written step.

Shen et al. 2025, "CODI" (arXiv 2502.21074), section 3: the same weights also read the written step
and learn the text behind it (the teacher); where the answer begins, the student's state is drawn to
the teacher's, which gets no gradient from it, in units of the teacher's deviation. They compare the
states of all layers; here it is the one after the final norm.
"""

import jax
import jax.numpy as jnp

from latent_jax.models.trunks import Trunks
from latent_jax.tasks.problem_batch import Problems
from latent_jax.tasks.reasoning_scores import nats, total
from latent_jax.tasks.thinker import Pass, Thinker
from latent_jax.tasks.thought_slots import fill_slots


def alignment_scores(
    thinker: Thinker, trunks: Trunks, problems: Problems, found: Pass, head: str
) -> dict[str, jax.Array]:
    """Return the teacher's nats, and the distance of states where segments begin.

    Args:
        thinker: of kind "latent".
        trunks: of the reasoner.
        problems: the batch.
        found: its forward pass, the student's.
        head: see `reasoning_scores.nats`.

    Returns:
        "teacher_nats", of all tokens of segments behind written steps; "alignment", the sum over
        blocks of the mean absolute difference of their states, in deviations of the teacher's.
    """
    slots = fill_slots(trunks, problems, "written", 1, jnp.int32(0), thinker.filler_id)
    written = slots.contents.given_BJKD, slots.contents.n_BJ
    teacher_BND = thinker.read_given(trunks, found.text, problems, *written)
    nats_BN = nats(trunks, teacher_BND, problems.block_ids_BN, head)
    is_first_BN = problems.is_block_token_BN & (problems.place_BN == 0)
    wanted_BND = jax.lax.stop_gradient(teacher_BND.astype(jnp.float32))
    n_numbers = jnp.maximum(total(is_first_BN), 1.0) * wanted_BND.shape[-1]
    mean = total(wanted_BND, is_first_BN[..., None]) / n_numbers
    deviation = jnp.sqrt(total(jnp.square(wanted_BND - mean), is_first_BN[..., None]) / n_numbers)
    distance_BN = jnp.mean(jnp.abs(found.before_BND.astype(jnp.float32) - wanted_BND), axis=-1)
    return {
        "teacher_nats": total(nats_BN, problems.is_block_token_BN),
        "alignment": total(distance_BN, is_first_BN) / jnp.maximum(deviation, 1e-6),
    }
