"""The sums by which a reasoner is judged: the same tokens with and without thoughts.

Tokens that state the result of a mark are scored apart from the rest of a step. On GSM8K they hold
8 % of the nats behind the first breakpoint, so the loss of a whole step would hide what thoughts do
for them.
"""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from latent_jax.contracts import Batch
from latent_jax.models.trunks import Trunks
from latent_jax.tasks.blockwise import blockwise_nats
from latent_jax.tasks.losses import bits_per_byte, token_nats
from latent_jax.tasks.problem_batch import Problems
from latent_jax.tasks.result_scores import logits, results_of_blocks
from latent_jax.tasks.thinker import Pass, Thinker

END_TOLERANCE = 0.05
"""Nats of a result that a thought must save to be worth thinking, for the end classifier."""


def nats(trunks: Trunks, x_BND: jax.Array, ids_BN: jax.Array, head: str) -> jax.Array:
    """Return -log p of ids from the states before them, float32[B, N].

    Args:
        trunks: of the reasoner.
        x_BND: states.
        ids_BN: int32.
        head: "whole", or "blocks" of the vocabulary, see `tasks.heads`.
    """
    if head == "whole":
        return token_nats(logits(trunks, x_BND), ids_BN)
    x_MD = x_BND.reshape(-1, x_BND.shape[-1])
    return blockwise_nats(x_MD, trunks.table_VD, ids_BN.reshape(-1))[0].reshape(ids_BN.shape)


def binary_nats(logits: jax.Array, is_true: jax.Array) -> jax.Array:
    """Return -log p of yes or no, float32, in nats."""
    return jax.nn.softplus(jnp.where(is_true, -logits, logits))


def text_scores(trunks: Trunks, problems: Problems, batch: Batch, found: Pass, head: str):
    """Return sums over the text, where no token sees a thought."""
    is_answer_BT = problems.is_answer_BT
    is_step_BT = is_answer_BT & (problems.segment_BT > 1)
    is_result_BT = problems.is_result_BT & is_step_BT
    nats_BT = nats(trunks, found.text.x_BTD, problems.ids_BT, head)
    return {
        "weight": total(is_answer_BT),
        "n_bytes": jnp.sum(batch["n_bytes"]),
        "n_problems": jnp.sum(batch["n_problems"]),
        "n_results": total(is_result_BT),
        "n_rest": total(is_step_BT & ~is_result_BT),
        "opening_nats": total(nats_BT, is_answer_BT & ~is_step_BT),
        "result_nats_without": total(nats_BT, is_result_BT),
        "rest_nats_without": total(nats_BT, is_step_BT & ~is_result_BT),
    }


def block_scores(
    trunks: Trunks, problems: Problems, found: Pass, head: str, *, names_slots: bool
) -> dict[str, jax.Array]:
    """Return sums over blocks: their segments, and what their slots should name.

    Args:
        trunks: of the reasoner.
        problems: the batch.
        found: its forward pass.
        head: see `nats`.
        names_slots: whether a token is predicted before every slot.
    """
    is_block_BN, is_result_BN = problems.is_block_token_BN, problems.block_is_result_BN
    is_block_BJ1 = problems.is_block_BJ[..., None]
    nats_BN = nats(trunks, found.before_BND, problems.block_ids_BN, head)
    slots = found.slots
    scores = {
        "result_nats_with": total(nats_BN, is_block_BN & is_result_BN),
        "rest_nats_with": total(nats_BN, is_block_BN & ~is_result_BN),
        "n_written": total(slots.is_written_BJK & is_block_BJ1),
        "n_slots_used": total(slots.contents.n_BJ, problems.is_block_BJ),
        "n_blocks": total(problems.is_block_BJ),
    }
    if names_slots:
        named_nats_BJK = slot_nats(trunks, found, head)
        scores["written_nats"] = total(named_nats_BJK, slots.is_written_BJK & is_block_BJ1)
        scores["named_nats"] = total(named_nats_BJK, slots.is_thought_BJK & is_block_BJ1)
        scores["n_named"] = total(slots.is_thought_BJK & is_block_BJ1)
    return scores


def slot_nats(trunks: Trunks, found: Pass, head: str) -> jax.Array:
    """Return -log p of what each slot should name, from the state before it, float32[B, J, K]."""
    h_BJKD, named_BJK = found.thoughts.h_BSJD[:, :-1].swapaxes(1, 2), found.slots.named_BJK
    n_rows, *_, width = h_BJKD.shape
    flat_BN = nats(trunks, h_BJKD.reshape(n_rows, -1, width), named_BJK.reshape(n_rows, -1), head)
    return flat_BN.reshape(named_BJK.shape)


def start_scores(trunks: Trunks, problems: Problems, found: Pass) -> dict[str, jax.Array]:
    """Return nats and hits of the classifier that opens blocks.

    It is asked where a writer asks it. No gradient reaches the states.
    """
    is_scored_B1 = problems.is_scored_B[:, None]
    opens_BT, asked_BT = problems.opens_BT > 0, problems.asks_start_BT & is_scored_B1
    parts = [(found.text.x_BTD[:, 1:], opens_BT[:, :-1], asked_BT[:, :-1])]
    if found.behind_BND is not None:
        asked_BN = problems.asks_start_BN & is_scored_B1
        parts.append((found.behind_BND, problems.opens_next_BN, asked_BN))
    sums = dict.fromkeys(("start_nats", "start_right", "start_said", "start_true"), 0.0)
    for x_BTD, is_true_BT, is_asked_BT in parts:
        start_BT = trunks.start_logits(jax.lax.stop_gradient(x_BTD))
        is_said_BT = (start_BT > 0) & is_asked_BT
        sums["start_nats"] += total(binary_nats(start_BT, is_true_BT), is_asked_BT)
        sums["start_right"] += total(is_said_BT & is_true_BT)
        sums["start_said"] += total(is_said_BT)
        sums["start_true"] += total(is_true_BT & is_asked_BT)
    return sums


def end_nats(
    thinker: Thinker, trunks: Trunks, problems: Problems, found: Pass, head: str
) -> jax.Array:
    """Return nats of the classifier that ends thinking or writing, float32 scalar.

    A written thought ends where it ends. For others an oracle tries every number of thoughts and
    takes the smallest one whose result costs at most `END_TOLERANCE` nats more than the best. No
    gradient reaches states or results.
    """
    is_written, k = thinker.slots == "written", thinker.most_in_use
    is_block_BJ = problems.breakpoints_BJ > 0
    numbers_I = jnp.arange(k + 1)

    def result_nats_BJ(number):
        n_BJ = jnp.where(is_block_BJ, number, 0)
        x_BND, _ = thinker.read(trunks, found.text, problems, n_BJ, found.thoughts)
        nats_BN = nats(trunks, x_BND, problems.block_ids_BN, head)
        return jnp.sum(jnp.where(results_of_blocks(problems), nats_BN[:, None], 0.0), axis=-1)

    if is_written:
        best_BJ = problems.n_written_BJ
    else:
        nats_IBJ = jax.lax.stop_gradient(jax.lax.map(result_nats_BJ, numbers_I))
        is_enough_IBJ = nats_IBJ <= jnp.min(nats_IBJ, axis=0, keepdims=True) + END_TOLERANCE
        best_BJ = jnp.argmax(is_enough_IBJ, axis=0)
    end_BIJ = trunks.end_logits(jax.lax.stop_gradient(found.thoughts.h_BSJD[:, : k + 1]))
    numbers_1I1 = numbers_I[None, :, None]
    is_over_BIJ = numbers_1I1 >= best_BJ[:, None]
    # Nothing is asked behind the oracle's number, and at k there is no choice.
    is_asked_BIJ = (numbers_1I1 <= best_BJ[:, None]) & (numbers_1I1 < k)
    is_asked_BIJ &= problems.is_scored_B[:, None, None]
    return total(binary_nats(end_BIJ, is_over_BIJ), is_asked_BIJ & is_block_BJ[:, None])


def summarize(sums: Mapping[str, Any]) -> dict[str, float]:
    """Return the metrics of summed scores.

    "use_nats_per_token" is the causal use of thoughts: what results cost more behind the thoughts
    of another problem. It also grows with the confidence of what is wrong there; "lost_right_share"
    does not: the share of results that are right behind their own thoughts, less that behind those
    of another problem.

    "right_share" counts the solutions whose last line is their problem's own token by token, the
    end included, so "1,000" for 1000 is wrong here. `launch/analyze.py solutions` compares numbers,
    as rewards do. "cut_share" counts the solutions that did not end.
    """
    value = {name: float(x) for name, x in sums.items() if not name.endswith("_J")}
    metrics, ways = {}, ["without"]
    if "n_blocks" in value:
        ways.append("with")
    for way in ways:
        result, rest = value[f"result_nats_{way}"], value[f"rest_nats_{way}"]
        written = value.get("written_nats", 0.0) if way == "with" else 0.0
        whole = value["opening_nats"] + result + rest + written
        metrics |= {
            f"bits_per_byte_{way}": bits_per_byte(whole, value["n_bytes"]),
            f"result_nats_per_token_{way}": result / max(value["n_results"], 1.0),
            f"rest_nats_per_token_{way}": rest / max(value["n_rest"], 1.0),
        }
    said_and_true = max(value["start_said"] + value["start_true"], 1.0)
    metrics = {
        "bits_per_byte": metrics[f"bits_per_byte_{ways[-1]}"],
        **metrics,
        "start_f1": 2 * value["start_right"] / said_and_true,
    }
    if "n_blocks" in value:
        metrics["slots_per_block"] = value["n_slots_used"] / max(value["n_blocks"], 1.0)
    for kind in ("written", "named", "decoded"):
        if f"{kind}_nats" in value:
            n = max(value[f"n_{kind}"], 1.0)
            metrics[f"{kind}_nats_per_token"] = value[f"{kind}_nats"] / n
    if "alignment" in value:
        metrics["alignment"] = value["alignment"] / max(value["n_blocks"], 1.0)
    if "results_J" in sums:
        n_paired = max(value["n_paired_results"], 1.0)
        use = value["result_nats_swapped"] - value["result_nats_own"]
        metrics["use_nats_per_token"] = use / n_paired
        lost, n_results = sums["right_own_J"] - sums["right_swapped_J"], sums["results_J"].sum()
        metrics["lost_right_share"] = float(lost.sum()) / max(float(n_results), 1.0)
        for word in ("own", "swapped"):
            for number, (right, n) in enumerate(
                zip(sums[f"right_{word}_J"], sums["results_J"], strict=True), start=1
            ):
                if n:
                    metrics[f"right_share_{word}_{number}"] = float(right) / float(n)
    if "n_solutions" in value:
        n = max(value["n_solutions"], 1.0)
        metrics["right_share"] = value["n_right"] / n
        metrics["wrong_share"] = 1.0 - metrics["right_share"]
        metrics["cut_share"] = value["n_cut"] / n
        metrics["blocks_per_solution"] = value["n_opened"] / n
        metrics["slots_per_solution"] = value["n_slots_written"] / n
    return metrics


def total(x: jax.Array, mask: jax.Array | None = None) -> jax.Array:
    """Return the float32 sum of x where the mask is True."""
    x = x.astype(jnp.float32)
    return jnp.sum(x if mask is None else jnp.where(mask, x, 0.0))
