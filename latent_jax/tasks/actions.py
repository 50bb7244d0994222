"""What a solution did, action by action, and how likely each action was.

A position of a row has at most two actions: the one that put there what it *holds*, and what was
*decided* behind it.

    region of the row       holds                         decided behind it
    A  text                 a token of segment 0          to open a block, or not
    B  segments             a token                       to open a block, or not
    C  slots of blocks      a written token, one that     before the slot: to end thinking, or not
                            a thought is mixed with, or
                            a thought drawn with noise
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from latent_jax.contracts import Batch
from latent_jax.data.problem_rows import ProblemLayout
from latent_jax.models.trunks import Trunks
from latent_jax.tasks.problem_batch import Problems
from latent_jax.tasks.reasoning_scores import binary_nats, logits
from latent_jax.tasks.thinker import Pass, Thinker


class Actions(NamedTuple):
    """The actions of solutions; axis 1 is what a position holds, and what was decided there.

    Attributes:
        nats_B2L: float32, -log p. Thoughts have a density, so theirs may be negative.
        is_taken_B2L: bool, where there is an action.
        is_text_BL: bool, which of them are tokens of text and segments.
        entropy_BL: float32, of the distributions that these were drawn from; no gradient.
    """

    nats_B2L: jax.Array
    is_taken_B2L: jax.Array
    is_text_BL: jax.Array
    entropy_BL: jax.Array

    def counted(self, fork_share: float) -> jax.Array:
        """Return the actions that count, bool[B, 2, L]: of tokens the share of highest entropy."""
        if fork_share == 1:
            return self.is_taken_B2L
        entropy_BL = jnp.where(self.is_text_BL, self.entropy_BL, jnp.nan)
        is_fork_BL = self.entropy_BL >= jnp.nanquantile(entropy_BL, 1 - fork_share)
        held_BL = self.is_taken_B2L[:, 0] & (is_fork_BL | ~self.is_text_BL)
        return self.is_taken_B2L.at[:, 0].set(held_BL)


def act_again(
    thinker: Thinker, params: Mapping[str, Any], batch: Batch, temperature: float = 1.0
) -> tuple[Problems, Actions]:
    """Return solutions that were written, and their actions under any weights.

    Args:
        thinker: the reasoner that wrote.
        params: its collection "params", also of other weights than those that wrote.
        batch: fields of a roll-out, with "noise_seed" where thoughts have noise, and "thoughts"
            where those that were drawn are read instead of drawn anew.
        temperature: at which tokens and decisions were drawn.
    """
    trunks = Trunks(thinker.config, params)
    problems = Problems.of(batch, thinker.config.layout)
    limit_BJ = problems.n_written_BJ if thinker.ends else None
    seeds_B = thoughts_BJKD = None
    if "thoughts" in batch:
        sizes = thinker.config.layout.n_blocks, thinker.n_slots, thinker.config.model.d_model
        thoughts_BJKD = collect(batch["thoughts"], *sizes)
    elif thinker.noise.kind not in ("through", "hrpo"):
        seeds_B = batch["noise_seed"][:, 0].astype(jnp.int32)
    stage = jnp.int32(thinker.n_thoughts)
    tokens_BJK = problems.written_BJK if thinker.noise.has_tokens else None
    found = thinker.run(trunks, problems, stage, limit_BJ, seeds_B, thoughts_BJKD, tokens_BJK)
    return problems, _actions(thinker, trunks, problems, found, temperature)


def spread(thoughts_BJKD: jax.Array, length: int, size: int) -> jax.Array:
    """Return thoughts as a field of a row, float32[B, L, size], with zeros behind them."""
    flat_BM = thoughts_BJKD.reshape(len(thoughts_BJKD), -1)
    padded_BM = jnp.pad(flat_BM, ((0, 0), (0, length * size - flat_BM.shape[1])))
    return padded_BM.reshape(-1, length, size)


def collect(field_BLM: jax.Array, n_blocks: int, n_slots: int, width: int) -> jax.Array:
    """Return the thoughts [B, J, K, D] of a field that `spread` made."""
    flat_BM = field_BLM.reshape(len(field_BLM), -1)[:, : n_blocks * n_slots * width]
    return flat_BM.reshape(-1, n_blocks, n_slots, width)


def _actions(
    thinker: Thinker, trunks: Trunks, problems: Problems, found: Pass, temperature: float
) -> Actions:
    layout = thinker.config.layout
    text_BT, entropy_BT = _token_nats(trunks, found.text.x_BTD, problems.ids_BT, temperature)
    # Segment 0 is written behind the text, all others behind their blocks.
    is_text_BT = problems.segment_BT == 1
    if not thinker.has_blocks:
        held = [_row(layout, x_BT) for x_BT in (text_BT, is_text_BT, entropy_BT)]
        nothing_BL = jnp.zeros_like(held[0])
        return Actions(
            jnp.stack((held[0], nothing_BL), axis=1),
            jnp.stack((held[1], nothing_BL > 0), axis=1),
            *held[1:],
        )
    blocks_BN, entropy_BN = _token_nats(
        trunks, found.before_BND, problems.block_ids_BN, temperature
    )
    is_block_BN = problems.block_BN > 0
    slots_BJK, is_slot_BJK = _slot_actions(thinker, trunks, problems, found, temperature)
    decided_BL, is_decided_BL = _decisions(thinker, trunks, problems, found, temperature)
    held_BL = _row(layout, text_BT, blocks_BN, slots_BJK)
    return Actions(
        jnp.stack((held_BL, decided_BL), axis=1),
        jnp.stack((_row(layout, is_text_BT, is_block_BN, is_slot_BJK), is_decided_BL), axis=1),
        _row(layout, is_text_BT, is_block_BN),
        _row(layout, entropy_BT, entropy_BN),
    )


def _token_nats(trunks: Trunks, x_BND: jax.Array, ids_BN: jax.Array, temperature: float):
    """Return -log p of tokens, and the entropies of their distributions without a gradient."""
    log_p_BNV = jax.nn.log_softmax(logits(trunks, x_BND) / temperature, axis=-1)
    nats_BN = -jnp.take_along_axis(log_p_BNV, ids_BN[..., None], axis=-1)[..., 0]
    entropy_BN = -jnp.sum(jnp.exp(log_p_BNV) * log_p_BNV, axis=-1)
    return nats_BN, jax.lax.stop_gradient(entropy_BN)


def _slot_actions(
    thinker: Thinker, trunks: Trunks, problems: Problems, found: Pass, temperature: float
):
    """Return -log p of what slots hold, float32[B, J, K], and where that was drawn."""
    slots, thoughts = found.slots, found.thoughts
    shape = slots.is_thought_BJK.shape
    is_used_BJK = jnp.arange(shape[-1])[None, None] < slots.contents.n_BJ[..., None]
    if thinker.draws_tokens:
        ids_BJK = problems.written_BJK[..., : shape[-1]]
        h_BJKD = thoughts.h_BSJD[:, :-1].swapaxes(1, 2)
        h_BND, ids_BN = (x.reshape(len(x), -1, *x.shape[3:]) for x in (h_BJKD, ids_BJK))
        nats_BN, _ = _token_nats(trunks, h_BND, ids_BN, temperature)
        return nats_BN.reshape(shape), is_used_BJK
    if thinker.noise.kind != "gaussian":
        return jnp.zeros(shape, jnp.float32), jnp.zeros(shape, bool)
    nats_BKJ = thinker.noise.nats(trunks, thoughts.h_BSJD, thoughts.v_BSJD)
    return nats_BKJ.swapaxes(1, 2), is_used_BJK


def _decisions(
    thinker: Thinker, trunks: Trunks, problems: Problems, found: Pass, temperature: float
):
    """Return -log p of decisions to open and to end, float32[B, L], and where one was asked for."""
    layout, h_BSJD = thinker.config.layout, found.thoughts.h_BSJD
    opens_BT = problems.opens_BT[:, :-1] > 0
    is_asked_BT, is_asked_BN = problems.asks_start_BT[:, :-1], problems.asks_start_BN
    start_BT = trunks.start_logits(found.text.x_BTD[:, 1:])
    text_BT = binary_nats(start_BT / temperature, opens_BT)
    start_BN = trunks.start_logits(found.behind_BND)
    block_BN = binary_nats(start_BN / temperature, problems.opens_next_BN)
    # Nothing is asked behind the last token of a row.
    text_BT, is_asked_BT = (jnp.pad(x_BT, ((0, 0), (0, 1))) for x_BT in (text_BT, is_asked_BT))
    if not thinker.ends:
        return _row(layout, text_BT, block_BN), _row(layout, is_asked_BT, is_asked_BN)
    # Once all slots are in use there is no choice.
    end_BJK = trunks.end_logits(h_BSJD[:, :-1]).swapaxes(1, 2)
    n_BJ1, number_11K = found.slots.contents.n_BJ[..., None], jnp.arange(end_BJK.shape[-1])
    number_11K = number_11K[None, None]
    is_asked_BJK = (number_11K <= n_BJ1) & (number_11K < thinker.most_in_use)
    is_asked_BJK &= (problems.breakpoints_BJ > 0)[..., None]
    end_nats_BJK = binary_nats(end_BJK / temperature, number_11K == n_BJ1)
    return (
        _row(layout, text_BT, block_BN, end_nats_BJK),
        _row(layout, is_asked_BT, is_asked_BN, is_asked_BJK),
    )


def _row(
    layout: ProblemLayout,
    text_BT: jax.Array,
    blocks_BN: jax.Array | None = None,
    slots_BJK: jax.Array | None = None,
) -> jax.Array:
    """Return [B, L]: the regions side by side, zeros where one is not given."""
    n_rows = len(text_BT)
    if blocks_BN is None:
        blocks_BN = jnp.zeros((n_rows, layout.blocks_text), text_BT.dtype)
    if slots_BJK is None:
        slots_BJK = jnp.zeros((n_rows, layout.n_blocks, layout.n_slots), text_BT.dtype)
    # Slots that no thought ever takes are not computed.
    behind = layout.n_slots - slots_BJK.shape[-1]
    slots_BJK = jnp.pad(slots_BJK, ((0, 0), (0, 0), (0, behind)))
    return jnp.concatenate((text_BT, blocks_BN, slots_BJK.reshape(n_rows, -1)), axis=1)
