"""The FLOPs of a row that is thought about, by component, in either layout.

A component costs one pass forward, and in training up to two more: one for the gradients of its
inputs, and one for those of its weights. Where the language trunk is frozen, what it reads behind
thoughts has no gradients of weights, and what it reads before them has no gradients at all.
"""

from typing import NamedTuple

from latent_jax.models.inline_memory import Inline
from latent_jax.models.reasoner import ReasonerConfig


class Cost(NamedTuple):
    """FLOPs of a component of a row: `forward`, and `train`, forward and backward."""

    forward: float = 0.0
    train: float = 0.0

    def __add__(self, other: tuple[float, ...]) -> "Cost":
        """Return the cost of both."""
        return Cost(*(one + more for one, more in zip(self, other, strict=True)))


def row_costs(
    config: ReasonerConfig,
    inline: Inline | None,
    kind: str,
    n_slots: int,
    *,
    n_thoughts: int,
    iterations: int = 0,
    freezes_text: bool = False,
    names_slots: bool = False,
    decodes: bool = False,
    aligns: bool = False,
    tries_ends: bool = False,
) -> dict[str, Cost]:
    """Return the costs of "text", "head", "thoughts", "blocks", and of what else there is.

    Args:
        config: of the reasoner.
        inline: of the inline layout; None = two streams.
        kind: what slots hold, one of `thought_slots.KINDS`.
        n_slots: K, slots of a block that are computed.
        n_thoughts: k.
        iterations: of Jacobi; see `Thinker`.
        freezes_text: whether the language trunk and its embeddings are not trained.
        names_slots: whether a token is predicted before every slot.
        decodes: whether written steps are decoded from thoughts, see `step_decoder`.
        aligns: whether written steps are read too, see `state_alignment`.
        tries_ends: whether segments are read behind every number of thoughts, for the oracle of the
            end classifier.
    """
    layout, model = config.layout, config.model
    per_logit = 2.0 * model.d_model * model.vocab_size

    def stack(n_positions: int, n_keys: int) -> float:
        return n_positions * sum(model.stack_flops(n_keys).values())

    def trained(flops: float) -> Cost:
        """Return the cost where inputs and weights have gradients."""
        return Cost(flops, 3 * flops)

    def language(flops: float) -> Cost:
        """Return the cost of what the language trunk, or its embeddings, do behind thoughts."""
        return Cost(flops, (2 if freezes_text else 3) * flops)

    def before_thoughts(flops: float) -> Cost:
        """Return the cost of what the language trunk does where there is no thought."""
        return Cost(flops, flops if freezes_text else 3 * flops)

    costs = {
        "text": before_thoughts(stack(layout.text, layout.text)),
        "head": before_thoughts(layout.text * per_logit),
    }
    if kind == "none":
        return costs
    if config.trunks == 2 and config.cache == "separate":
        costs["text"] += trained(costs["text"].forward)
    n_places = layout.n_blocks * (n_slots + 1)
    n_tokens = steps_read(config, inline)

    def slot_keys(n_places: int, *, one_by_one: bool) -> int:
        """Keys that a slot is scored against, where all blocks have n_places."""
        if inline is None:  # a step of the scan has a slot of each block
            return layout.text + n_places + (layout.n_blocks if one_by_one else 0)
        return (
            layout.text + n_places + n_tokens + (1 if one_by_one else n_places // layout.n_blocks)
        )

    def token_keys(n_places: int) -> int:
        """Keys that a token behind thoughts is scored against."""
        own = 0 if inline is None else n_tokens // layout.n_blocks
        return layout.text + n_places + n_tokens + own

    one_by_one = kind == "latent" and not iterations
    passes = 1 + iterations if kind == "latent" else 1
    thinking = passes * stack(n_places, slot_keys(n_places, one_by_one=one_by_one))
    costs["thoughts"] = trained(thinking)
    if config.has_message_pass:
        costs["thoughts"] += language(stack(n_places, slot_keys(n_places, one_by_one=False)))
    reading = stack(n_tokens, token_keys(n_places))
    costs["blocks"] = language(reading)
    costs["head"] += language(layout.blocks_text * per_logit)
    if names_slots:
        costs["head"] += language(layout.n_blocks * n_slots * per_logit)
    if decodes:
        n_read = n_thoughts + layout.n_slots - 1
        decoding = stack(n_read, n_read) + layout.n_slots * per_logit
        costs["decoder"] = language(layout.n_blocks * decoding)
    if aligns:
        n_read = layout.n_blocks * (layout.n_slots + 1)
        at_once = stack(n_read, slot_keys(n_read, one_by_one=False))
        # Of written steps only what the language trunk reads matters.
        costs["teacher"] = language(at_once) if config.has_message_pass else trained(at_once)
        costs["teacher"] += language(stack(n_tokens, token_keys(n_read)))
        costs["teacher"] += language(layout.blocks_text * per_logit)
    if tries_ends and kind != "written":
        tries = (n_thoughts + 1) * (reading + layout.blocks_text * per_logit)
        costs["ends"] = Cost(tries, tries)
    if kind == "latent":
        n_made = iterations * layout.n_blocks * n_slots or n_places
        in_mlp = 2 * 2.0 * model.d_model**2 * (config.projection in ("mlp", "fusion"))
        in_soft = per_logit * (config.projection in ("soft", "fusion"))
        in_gate = 2 * 2.0 * model.d_model**2 * (config.gate > 0)
        costs["projection"] = trained(n_made * (in_mlp + in_soft + in_gate))
    return costs


def steps_read(config: ReasonerConfig, inline: Inline | None) -> int:
    """Return the places behind thoughts that the language trunk reads: ends and tokens."""
    layout = config.layout
    if inline is None:
        return layout.n_blocks + layout.blocks_text
    return layout.n_blocks * (inline.step + 1)
