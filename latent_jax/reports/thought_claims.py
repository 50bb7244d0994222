"""Claims of Fifty's post-mortem of interleaved latent reasoning, tested on the cells of a sweep.

Some of them say that nothing happens. Such a one is supported where the whole interval lies within
`NOTHING` of 0, and refuted where it lies outside; see `Trial.near_zero`.

Fifty, "Interleaved latent reasoning" (2025); the numbers of its claims are those of
configs/results/latent_reasoning.md.
"""

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from latent_jax.reports.paired import Effect
from latent_jax.reports.scores import Scores, label_of
from latent_jax.reports.style import family_of
from latent_jax.reports.trial import Trial

USE = "use_nats_per_token"
LOST = "lost_right_share"
RESULT = "result_nats_per_token"

NOTHING = 0.05
"""Nats of a result; an effect below it counts as none."""

LATENT, HELP = "latent,k=3", 0.8
"""What slots hold in the arms that claims are on, and the share of the training that a curriculum
takes; configs/sweeps/reasoning.py makes its arms from both."""

TRAINING_PARTS = ("decoder", "teacher", "ends")
"""Components of the ledger that only training has, see `tasks.thought_flops`."""

SETTINGS = ("curriculum", "named", "decoder", "aligned", "iterations", "layout", "problems")
"""What arms of one method differ in."""

SOURCE = "Fifty 2025, a post-mortem"

Records = Sequence[Mapping[str, Any]]


def thought_records(records: Records) -> list[dict[str, Any]]:
    """Return the cells of reasoners; `RESULT` is the cost behind thoughts, or in the text."""
    found = []
    for record in records:
        if family_of(record["method"]) == "Thoughts":
            way = "with" if f"{RESULT}_with" in record else "without"
            found.append({**record, RESULT: record.get(f"{RESULT}_{way}")})
    return found


def thought_table(records: Records) -> list[dict[str, Any]]:
    """Return a row for each arm: means over seeds, and what its thoughts save against none.

    "gain_nats_per_megaflop" is what a result token saves against the arm without thoughts for each
    million of forward FLOPs that a row costs more; see `row_flops`.
    """
    rows, scores = [], Scores(thought_records(records))
    for size in scores.sizes if scores.methods else ():
        without = _without_thoughts(scores, size)
        for label in scores.methods:
            cells = scores.cells(label, size)
            if not cells:
                continue
            row = {
                "method": label,
                "size": size,
                "n_seeds": len(cells),
                "train_flops": scores.mean(label, size, "train_flops"),
                "problems_seen": scores.mean(label, size, "problems_seen"),
            }
            nats = scores.sample(label, size, RESULT)
            if nats is not None:
                row |= {RESULT: nats.mean, "standard_deviation": nats.deviation}
            if nats is not None and without is not None and label != without:
                saved = Effect.of(nats.by_seed, scores.sample(without, size, RESULT).by_seed)
                row |= {"saved_nats": saved.mean, "saved_nats_half_width": saved.half_width()}
                row |= _gain(saved, cells[0], scores.cells(without, size)[0])
            for key, width in ((USE, "use_nats_half_width"), (LOST, f"{LOST}_half_width")):
                sample = scores.sample(label, size, key)
                if sample is not None:
                    nothing = dict.fromkeys(sample.by_seed, 0.0)
                    effect = Effect.of(nothing, sample.by_seed)
                    row |= {key: effect.mean, width: effect.half_width()}
            row["right_share"] = scores.mean(label, size, "right_share")
            rows.append(row)
    return rows


def row_flops(cell: Mapping[str, Any]) -> float | None:
    """Return the forward FLOPs of a row by the ledger of a cell; None if it has none.

    What only training needs is not counted, but for the logits that name slots, which are a part of
    the head.
    """
    if "inference_flops_per_byte" not in cell:
        return None
    per_byte = cell["inference_flops_per_byte"]
    per_byte -= sum(cell.get(f"{part}_flops_per_byte", 0.0) for part in TRAINING_PARTS)
    return per_byte * cell["bytes_per_token"] * cell["row_length"]


def _gain(saved: Effect, cell: Mapping[str, Any], bare: Mapping[str, Any]) -> dict[str, Any]:
    """Return the gain per extra FLOP; {} where a ledger is missing, or no FLOP is added."""
    flops, without = row_flops(cell), row_flops(bare)
    if flops is None or without is None or flops <= without or saved.mean is None:
        return {}
    extra, half_width = (flops - without) / 1e6, saved.half_width()
    width = None if half_width is None else half_width / extra
    return {"gain_nats_per_megaflop": saved.mean / extra, "gain_half_width": width}


def _without_thoughts(scores: Scores, size: str) -> str | None:
    return next((m for m in scores.methods if "[none" in m and scores.cells(m, size)), None)


def _arm(records: Records, slots: str, **settings: Any) -> str | None:
    """Return the label of the arm with these slots and exactly these settings, or None.

    Args:
        records: of cells.
        slots: as in the method's name, such as "latent,k=3".
        settings: of `SETTINGS`; those that are left out are not set in the cells either.
    """
    for record in records:
        is_same = all(record.get(key) == settings.get(key) for key in SETTINGS)
        if record["method"] == f"Thoughts[{slots}]" and is_same:
            return label_of(record)
    return None


def _ignored(records: Records, trial: Trial) -> None:
    trial.near_zero(_arm(records, LATENT), USE, NOTHING)
    _count_only_if_learnable(records, trial)


def _as_pauses(records: Records, trial: Trial) -> None:
    free, pause = _arm(records, LATENT), _arm(records, "pause,k=3")
    trial.equal(free, pause, RESULT, NOTHING)
    _count_only_if_learnable(records, trial)


def _count_only_if_learnable(records: Records, trial: Trial) -> None:
    """Drop support for "nothing happens" where thoughts that had help are not used either.

    There all arms may be equal because none has learned anything at this budget.
    """
    control = Trial(trial.scores)
    _used_after_help(records, control)
    if not control.places or not all(place.supports() for place in control.places):
        trial.places = [place for place in trial.places if not place.supports()]


def _used_after_help(records: Records, trial: Trial) -> None:
    trial.above_zero(_arm(records, LATENT, curriculum=HELP), USE)


def _used_if(setting: str) -> Callable[[Records, Trial], None]:
    def claim(records: Records, trial: Trial) -> None:
        trial.above_zero(_arm(records, LATENT, **{setting: 1.0}), USE)

    return claim


def _compute_alone(records: Records, trial: Trial) -> None:
    for slots in ("pause,k=3", "filler,k=3"):
        trial.less(_arm(records, slots), _arm(records, "none"), RESULT)


def _thoughts_help(records: Records, trial: Trial) -> None:
    helped = _arm(records, LATENT, curriculum=HELP)
    for slots in ("none", "pause,k=3"):
        trial.less(helped, _arm(records, slots), RESULT)


def _one_is_too_few(records: Records, trial: Trial) -> None:
    three, one = (_arm(records, f"latent,k={k}", curriculum=HELP) for k in (3, 1))
    trial.less(three, one, RESULT)


def _more_data(records: Records, trial: Trial) -> None:
    arms = [
        _arm(records, LATENT, curriculum=HELP, **problems)
        for problems in ({"problems": 1_000}, {"problems": 10_000}, {})
    ]
    for few, many in itertools.pairwise(arm for arm in arms if arm):
        trial.less(many, few, RESULT)


def _jacobi(records: Records, trial: Trial) -> None:
    at_once = _arm(records, LATENT, curriculum=HELP, iterations=1)
    trial.equal(at_once, _arm(records, LATENT, curriculum=HELP), RESULT, NOTHING)


THOUGHT_CLAIMS: tuple[tuple[str, str, Callable[[Records, Trial], None]], ...] = (
    ("Thoughts that only the text behind them trains are ignored", f"{SOURCE}, claim 2", _ignored),
    ("They are worth what pauses are worth", f"{SOURCE}, claim 2", _as_pauses),
    (
        "Thoughts that had help are used when it has ended",
        f"{SOURCE}, claim 5",
        _used_after_help,
    ),
    ("Thoughts that name their written tokens are used", "this laboratory", _used_if("named")),
    ("Thoughts from which the step is decoded are used", "SIM-CoT", _used_if("decoder")),
    ("Thoughts aligned with the written step are used", "CODI", _used_if("aligned")),
    ("Compute at breakpoints helps without content", f"{SOURCE}, part of claim 9", _compute_alone),
    (
        "Thoughts that had help predict results better than text alone",
        f"{SOURCE}, part of claim 9",
        _thoughts_help,
    ),
    ("One thought for three operations is too few", f"{SOURCE}, part of claim 10", _one_is_too_few),
    ("More problems make thoughts better", f"{SOURCE}, claim 12", _more_data),
    ("One Jacobi iteration is worth what thoughts one by one are worth", "PCCoT", _jacobi),
)


def thought_verdicts(records: Records) -> list[dict[str, Any]]:
    """Return a row for each claim on the cells of reasoners; see `Trial.record`."""
    rows, found = [], thought_records(records)
    for claim, source, attempt in THOUGHT_CLAIMS:
        trial = Trial(Scores(found))
        attempt(found, trial)
        rows.append(trial.record(claim, source))
    return rows
