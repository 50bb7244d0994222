"""What a reasoner solves when it writes alone, with its thoughts, with fewer, and with none.

Solutions are written greedily behind held-out problems and scored on the host, where numbers are
compared as numbers (`data.verifier`). The same weights write every line of the table, so a line
with fewer thoughts says what thoughts are worth to this model, not what a model would be worth that
was trained without them: that is a run of `Thoughts[none]`.
"""

import dataclasses
import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from latent_jax.analysis.codes import Tables, TrainedRun
from latent_jax.analysis.intervals import ratio_interval, share_interval
from latent_jax.analysis.options import ReasonerOptions, option
from latent_jax.analysis.solutions.shown import draw_shares, show_solutions
from latent_jax.bars import Bar
from latent_jax.contracts import Batch
from latent_jax.data.verifier import count_steps, is_right
from latent_jax.generation.rollout import Decoding
from latent_jax.generation.solution_arrays import Rollout, answer_of, texts_of
from latent_jax.generation.solutions import write_greedily
from latent_jax.tasks.latent_reasoning import LatentReasoning
from latent_jax.tasks.policy import Policy
from latent_jax.tasks.problem_batch import Problems
from latent_jax.tasks.thinker import Thinker
from latent_jax.tokenizers import Tokenizer

TRAINED = "as trained"
NONE = "no thoughts"

_MOST_ROWS = 64
"""Solutions that are written side by side."""


@dataclasses.dataclass(frozen=True)
class SolutionsOptions(ReasonerOptions):
    """Options of the analysis `solutions`.

    Raises:
        ValueError: a k is no number of slots.
    """

    k: tuple[str, ...] = option(
        (), "Write also with so many slots in use of a block, at most. May be repeated."
    )

    def __post_init__(self):
        """Check k."""
        _ = self.limits

    @property
    def limits(self) -> tuple[int, ...]:
        """The numbers of k, ascending, each once."""
        for word in self.k:
            if not (str(word).isascii() and str(word).isdigit()):
                raise ValueError(f"--k is a number of slots, 0 or more; got {word!r}")
        return tuple(sorted({int(word) for word in self.k}))


class Way(NamedTuple):
    """How solutions are written.

    Attributes:
        name: for tables.
        k: slots in use of a block, at most.
        decoding: greedy.
    """

    name: str
    k: int
    decoding: Decoding


class Scores(NamedTuple):
    """Solutions of P problems, as the host scores them.

    Attributes:
        is_right_P: bool, by the strict rule of `verifier.is_right`.
        is_lenient_P: bool, by the lenient one.
        n_steps_right_P: int64, equations in the written text that hold, see `count_steps`.
        n_steps_P: int64, equations.
        is_cut_P: bool, solutions that have not ended.
        n_blocks_P: int64, blocks that were opened.
        n_slots_P: int64, slots in use of all blocks.
        n_tokens_P: int64, tokens of the text, its end included.
    """

    is_right_P: np.ndarray
    is_lenient_P: np.ndarray
    n_steps_right_P: np.ndarray
    n_steps_P: np.ndarray
    is_cut_P: np.ndarray
    n_blocks_P: np.ndarray
    n_slots_P: np.ndarray
    n_tokens_P: np.ndarray


def task_of(run: TrainedRun) -> LatentReasoning:
    """Return the task of a run whose solutions can be written.

    Raises:
        ValueError: the run is no reasoner, or see `LatentReasoning.check_writes`.
    """
    task = run.task.supervised if isinstance(run.task, Policy) else run.task
    if not isinstance(task, LatentReasoning):
        raise ValueError(f"{run.config.method} writes no solutions: name a run of Thoughts[...]")
    task.check_writes()
    return task


def ways(run: TrainedRun, limits: Sequence[int]) -> list[Way]:
    """Return how a run writes: as it was trained, without blocks, and with at most k slots in use.

    A run without blocks writes in one way, whatever k is. The k of its training is no other way
    than the first one.

    Raises:
        ValueError: see `task_of`, or a k is above the slots of training.
    """
    thinker = task_of(run).thinker
    length, most = thinker.config.layout.text, thinker.most_in_use
    none = Way(NONE, 0, Decoding(length, thinks=False))
    if not thinker.has_blocks:
        return [none]
    if limits and limits[-1] > most:
        raise ValueError(
            f"--k={limits[-1]} is more than the {most} slots in use of {run.config.method} at the "
            "end of its training: nothing was trained behind them"
        )
    fewer = [
        Way(f"k={k}" if k else "k=0, marks only", k, Decoding(length, limit=k))
        for k in limits
        if k < most
    ]
    return [Way(TRAINED, most, Decoding(length)), none, *fewer]


def measure(
    options: SolutionsOptions, run: TrainedRun, read: Callable[[int], Iterable[Batch]]
) -> Tables:
    """Return records of "solutions", one for each way to write.

    Args:
        options: how many problems, and the numbers of slots.
        run: of a reasoner.
        read: returns batches of so many rows of held-out problems.

    Raises:
        ValueError: see `ways`, or there is no problem.
    """
    thinker, asked = task_of(run).thinker, ways(run, options.limits)
    batches = _first(read(_rows_at_a_time(options)), options.max_problems)
    n_problems = sum(map(_n_problems, batches))
    if not n_problems:
        raise ValueError("the held-out split has no problem that fits into a row")
    n_kept = min(n_problems, options.max_problems or n_problems)
    records = []
    with Bar("writing", n_problems * len(asked), "solutions") as bar:
        for way in asked:
            parts = []
            for batch in batches:
                found = _written(thinker, run.variables["params"], batch, way.decoding)
                parts.append(score(run.tokenizer, batch, jax.device_get(found)))
                bar.update(_n_problems(batch), f"{run.config.method}, {way.name}")
            scores = Scores(*(np.concatenate(x)[:n_kept] for x in zip(*parts, strict=True)))
            origin = {"way": way.name, "k": way.k, "opens_blocks": way.name != NONE}
            records.append(origin | record_of(scores))
    return {"solutions": records}


@functools.partial(jax.jit, static_argnames=("thinker", "decoding"))
def _written(
    thinker: Thinker, params: Mapping[str, Any], batch: Batch, decoding: Decoding
) -> tuple[Rollout, Problems]:
    problems = Problems.of(batch, thinker.config.layout)
    return write_greedily(thinker, params, problems, decoding), problems


def score(tokenizer: Tokenizer, batch: Batch, written: tuple[Rollout, Problems]) -> Scores:
    """Return the scores of the rows of a batch that are problems.

    Args:
        tokenizer: of the run.
        batch: its "n_problems" says which rows are problems.
        written: the solutions and the problems, as arrays of the host.
    """
    is_problem_B = np.asarray(batch["n_problems"]) > 0
    found, problems = (
        type(each)(*(None if x is None else x[is_problem_B] for x in each)) for each in written
    )
    texts = texts_of(tokenizer, found.ids_BT, found.segment_BT > 0)
    worked = texts_of(tokenizer, problems.ids_BT, problems.segment_BT > 0)
    pairs = [(text, answer_of(own)) for text, own in zip(texts, worked, strict=True)]
    steps_P2 = np.array([count_steps(text) for text in texts], np.int64).reshape(-1, 2)
    return Scores(
        is_right_P=np.array([is_right(*pair) for pair in pairs], bool),
        is_lenient_P=np.array([is_right(*pair, strict=False) for pair in pairs], bool),
        n_steps_right_P=steps_P2[:, 0],
        n_steps_P=steps_P2[:, 1],
        is_cut_P=~found.is_ended_B,
        n_blocks_P=(found.opens_BT > 0).sum(axis=1),
        n_slots_P=found.n_BJ.sum(axis=1),
        n_tokens_P=(found.segment_BT > 0).sum(axis=1),
    )


def record_of(scores: Scores) -> dict[str, Any]:
    """Return the shares and means of solutions, each with its 95 % interval over problems.

    The ends of the interval of "x" are "x_low" and "x_high". "steps_right_share" is None where no
    text has an equation. It and the means have no interval over a single problem, and none that
    says anything where all problems are alike.
    """
    n_problems = len(scores.is_right_P)
    record: dict[str, Any] = {"n_problems": n_problems, "n_steps": int(scores.n_steps_P.sum())}
    shares = {
        "right_share": scores.is_right_P,
        "lenient_right_share": scores.is_lenient_P,
        "cut_share": scores.is_cut_P,
    }
    for name, is_so_P in shares.items():
        record |= _with_ends(name, *share_interval(is_so_P))
    ratios = {
        "steps_right_share": (scores.n_steps_right_P, scores.n_steps_P),
        "blocks_per_solution": (scores.n_blocks_P, np.ones(n_problems)),
        "slots_per_solution": (scores.n_slots_P, np.ones(n_problems)),
        "tokens_per_solution": (scores.n_tokens_P, np.ones(n_problems)),
    }
    for name, (x_P, of_P) in ratios.items():
        mean, half = ratio_interval(x_P, of_P) if of_P.any() else (None, None)
        low = high = None
        if half is not None:
            most = 1.0 if name.endswith("_share") else np.inf
            low, high = max(mean - half, 0.0), min(mean + half, most)
        record |= _with_ends(name, mean, low, high)
    return record


def show(tables: Tables) -> str:
    """Return the tables of all runs."""
    return show_solutions(tables["solutions"])


def draw(tables: Tables, folder: Path) -> list[Path]:
    """Draw the share of right solutions against the slots in use."""
    return [draw_shares(tables["solutions"], folder / "solutions.png")]


def _with_ends(
    name: str, value: float | None, low: float | None, high: float | None
) -> dict[str, float | None]:
    return {name: value, f"{name}_low": low, f"{name}_high": high}


def _rows_at_a_time(options: SolutionsOptions) -> int:
    return min(_MOST_ROWS, options.max_problems or _MOST_ROWS)


def _n_problems(batch: Batch) -> int:
    return int((np.asarray(batch["n_problems"]) > 0).sum())


def _first(batches: Iterable[Batch], max_problems: int) -> list[Batch]:
    """Return batches until they hold so many problems; 0 = all."""
    kept, n_problems = [], 0
    for batch in batches:
        kept.append(batch)
        n_problems += _n_problems(batch)
        if max_problems and n_problems >= max_problems:
            break
    return kept
