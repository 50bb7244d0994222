"""The forward FLOPs of a row that is thought about, by component, in either layout."""

from latent_jax.models.inline_memory import Inline
from latent_jax.models.reasoner import ReasonerConfig


def row_flops(
    config: ReasonerConfig,
    inline: Inline | None,
    kind: str,
    n_slots: int,
    *,
    n_thoughts: int,
    iterations: int = 0,
    names_slots: bool = False,
    decodes: bool = False,
    aligns: bool = False,
) -> dict[str, float]:
    """Return the FLOPs of "text", "head", "thoughts", "blocks", and of what else there is.

    Args:
        config: of the reasoner.
        inline: of the inline layout; None = two streams.
        kind: what slots hold, one of `thought_slots.KINDS`.
        n_slots: K, slots of a block that are computed.
        n_thoughts: k.
        iterations: of Jacobi; see `Thinker`.
        names_slots: whether a token is predicted before every slot.
        decodes: whether written steps are decoded from thoughts, see `step_decoder`.
        aligns: whether written steps are read too, see `state_alignment`.
    """
    layout, model = config.layout, config.model
    head = 2.0 * model.d_model * model.vocab_size

    def stack(n_positions: int, n_keys: int) -> float:
        return n_positions * sum(model.stack_flops(n_keys).values())

    flops = {"text": stack(layout.text, layout.text), "head": layout.text * head}
    if kind == "none":
        return flops
    if config.trunks == 2 and config.cache == "separate":
        flops["text"] *= 2
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
    flops["thoughts"] = passes * stack(n_places, slot_keys(n_places, one_by_one=one_by_one))
    if config.has_message_pass:
        flops["thoughts"] += stack(n_places, slot_keys(n_places, one_by_one=False))
    flops["blocks"] = stack(n_tokens, token_keys(n_places))
    flops["head"] += layout.blocks_text * head
    if names_slots:
        flops["head"] += layout.n_blocks * n_slots * head
    if decodes:
        n_read = n_thoughts + layout.n_slots - 1
        flops["decoder"] = layout.n_blocks * stack(n_read, n_read)
        flops["decoder"] += layout.n_blocks * layout.n_slots * head
    if aligns:
        n_read = layout.n_blocks * (layout.n_slots + 1)
        passes_of_teacher = 2 if config.has_message_pass else 1
        flops["teacher"] = passes_of_teacher * stack(n_read, slot_keys(n_read, one_by_one=False))
        flops["teacher"] += stack(n_tokens, token_keys(n_read))
        flops["teacher"] += layout.blocks_text * head
    if kind == "latent":
        n_made = iterations * layout.n_blocks * n_slots or n_places
        in_mlp = 2 * 2.0 * model.d_model**2 * (config.projection in ("mlp", "fusion"))
        in_soft = head * (config.projection in ("soft", "fusion"))
        flops["projection"] = n_made * (in_mlp + in_soft)
    return flops


def steps_read(config: ReasonerConfig, inline: Inline | None) -> int:
    """Return the places behind thoughts that the language trunk reads: ends and tokens."""
    layout = config.layout
    if inline is None:
        return layout.n_blocks + layout.blocks_text
    return layout.n_blocks * (inline.step + 1)
