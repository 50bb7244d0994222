"""Supervision of thoughts by a decoder: the written step must follow from the thoughts alone.

Wei et al. 2025, "SIM-CoT" (arXiv 2509.20317), section 3.2. Their decoder is a second copy of the
language model, which is thrown away after training. Here the trunk of the language itself decodes,
because a copy would be as large as the model: it reads the k thoughts of a block as its first
inputs, then the written step, and nothing else. So what a thought says is said in the terms of the
trunk that will read it.
"""

import jax
import jax.numpy as jnp

from latent_jax.models.trunks import Trunks
from latent_jax.tasks.problem_batch import Problems
from latent_jax.tasks.reasoning_scores import nats, total
from latent_jax.tasks.thinker import Pass, Thinker


def decoder_scores(
    thinker: Thinker, trunks: Trunks, problems: Problems, found: Pass, head: str
) -> dict[str, jax.Array]:
    """Return the nats of written steps behind their thoughts, and how many tokens they have.

    Blocks count whose k slots all hold thoughts that are in use: a curriculum has none before its
    last stage.

    Args:
        thinker: of kind "latent".
        trunks: of the reasoner.
        problems: the batch.
        found: its forward pass.
        head: see `reasoning_scores.nats`.
    """
    k, slots = thinker.n_thoughts, found.slots
    v_BJkD = found.thoughts.v_BSJD[:, 1 : 1 + k].swapaxes(1, 2)
    n_rows, n_blocks, _, width = v_BJkD.shape
    written_BJK = problems.written_BJK
    x_BJTD = jnp.concatenate((v_BJkD, trunks.embed(written_BJK[..., :-1])), axis=2)
    x_MTD, _ = trunks.language(x_BJTD.reshape(n_rows * n_blocks, -1, width))
    # The last thought predicts the first token.
    x_BND = x_MTD[:, k - 1 :].reshape(n_rows, -1, width)
    nats_BN = nats(trunks, x_BND, written_BJK.reshape(n_rows, -1), head)
    is_written_BJK = (
        jnp.arange(written_BJK.shape[-1])[None, None] < problems.n_written_BJ[..., None]
    )
    has_all_BJ = slots.is_thought_BJK[..., k - 1] & problems.is_block_BJ
    is_scored_BJK = is_written_BJK & has_all_BJ[..., None]
    return {
        "decoded_nats": total(nats_BN.reshape(written_BJK.shape), is_scored_BJK),
        "n_decoded": total(is_scored_BJK),
    }
