"""What thoughts save for the FLOPs that they add: one model, its results with and without a block.

The ledger counts a row: without thoughts the text is read once, and each of its tokens predicted;
with them the slots are filled, and the segments behind them read and predicted once more. What only
training needs, such as step decoders, is not counted.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from latent_jax.analysis.thoughts.interventions import TEXT
from latent_jax.tasks.thinker import Thinker
from latent_jax.tasks.thought_flops import row_costs


def row_flops(thinker: Thinker) -> tuple[float, float]:
    """Return the forward FLOPs of a row with thoughts, and of the same row without blocks."""
    bare = row_costs(thinker.config, None, "none", 0, n_thoughts=0)
    return tuple(sum(c.forward for c in costs.values()) for costs in (thinker.row_costs(), bare))


def gain_records(
    thinker: Thinker, text_weight: float, ways: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """Return one record, the gain per extra FLOP of a row; [] where no result was scored.

    Args:
        thinker: of the run.
        text_weight: of results in the text in training. If it is 0, nobody has learned to state
            them without thoughts, and the gain is no comparison: take that of a sweep, which has an
            arm without thoughts.
        ways: records of `interventions.intervention_records`.

    Returns:
        "saved_nats_per_token", nats of a result token in the text less those behind own thoughts,
        and "gain_nats_per_megaflop", the same for each million of FLOPs that a row costs more; both
        with the ends of a 95 % interval over problems. "row_flops_with" and "row_flops_without" are
        forward FLOPs of a row.
    """
    found = [way for way in ways if way["way"] == TEXT and way["block"] == 0]
    with_thoughts, without = row_flops(thinker)
    extra = (with_thoughts - without) / 1e6
    records = []
    for way in found:
        record = {
            "row_flops_with": with_thoughts,
            "row_flops_without": without,
            "text_weight": text_weight,
        }
        for end in ("", "_low", "_high"):
            saved = way.get(f"added_nats_per_token{end}")
            if saved is not None:
                record[f"saved_nats_per_token{end}"] = saved
                record[f"gain_nats_per_megaflop{end}"] = saved / extra
        records.append(record)
    return records
