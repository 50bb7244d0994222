"""Are thoughts used, what are they like, and what do they say? Records of a trained reasoner.

Seven questions, each one kind of records, told apart by "part": results behind exchanged thoughts
(`interventions`), what they save for their FLOPs (`gain`), their geometry (`geometry`), the tokens
near them (`decoded`), attention to them (`mass`), linear probes (`probes`, of `marks` too), and one
problem token by token (`one_problem`).
"""

import dataclasses
from collections.abc import Callable, Iterable
from pathlib import Path

import jax
import numpy as np

from latent_jax.analysis.codes import Tables, TrainedRun
from latent_jax.analysis.options import ReasonerOptions, seed_option
from latent_jax.analysis.thoughts.decoded import Words, decoded_records
from latent_jax.analysis.thoughts.figure import draw_ways
from latent_jax.analysis.thoughts.gain import gain_records
from latent_jax.analysis.thoughts.geometry import geometry_records
from latent_jax.analysis.thoughts.interventions import (
    MASKED,
    OWN,
    TEXT,
    intervention_records,
    uniform_nats,
    ways,
)
from latent_jax.analysis.thoughts.marks import mark_targets
from latent_jax.analysis.thoughts.mass import mass_records
from latent_jax.analysis.thoughts.observe import observe_all
from latent_jax.analysis.thoughts.one_problem import problem_records
from latent_jax.analysis.thoughts.probes import Stands, probe_records, stands_for
from latent_jax.analysis.thoughts.shown import show_parts
from latent_jax.contracts import Batch
from latent_jax.models.trunks import Trunks
from latent_jax.tasks.latent_reasoning import LatentReasoning
from latent_jax.tasks.policy import Policy
from latent_jax.tasks.thinker import Thinker

_MOST_LOGITS = 2**26
"""Logits of a batch, so that a vocabulary of 49,152 takes fewer rows at a time."""

_MOST_ROWS = 64


@dataclasses.dataclass(frozen=True)
class ThoughtsOptions(ReasonerOptions):
    """Options of the analysis `thoughts`."""

    seed: int = seed_option()


def thinker_of(run: TrainedRun) -> Thinker:
    """Return the thinker of a run.

    Raises:
        ValueError: the run is no reasoner, has no blocks, or has inline rows.
    """
    if not isinstance(run.task, LatentReasoning | Policy):
        raise ValueError(f"{run.config.method} has no thoughts: name a run of Thoughts[...]")
    if not run.task.thinker.has_blocks:
        raise ValueError(
            f"{run.config.method} has no blocks, so there is nothing to exchange: name a run whose "
            "slots hold something, such as Thoughts[latent,k=3]"
        )
    if run.task.thinker.inline:
        raise ValueError(
            "thoughts.layout='inline': attention to thoughts is analyzed in two streams only; what "
            "the thoughts of another problem cost, use_nats_per_token, is in the run's metrics"
        )
    return run.task.thinker


def rows_at_a_time(thinker: Thinker) -> int:
    """Return the rows of a batch; at least 2, because each lends its thoughts to another."""
    layout, vocab_size = thinker.config.layout, thinker.config.model.vocab_size
    longest = max(layout.text, layout.blocks_text, layout.n_blocks * layout.n_slots)
    return int(np.clip(_MOST_LOGITS // (longest * vocab_size), 2, _MOST_ROWS))


def measure(
    options: ThoughtsOptions, run: TrainedRun, read: Callable[[int], Iterable[Batch]]
) -> Tables:
    """Return records of "thoughts".

    Args:
        options: how many problems, and the seed of the noise.
        run: of a reasoner with blocks.
        read: returns batches of so many rows of held-out problems.

    Raises:
        ValueError: see `thinker_of`, or there is no problem.
    """
    thinker, params = thinker_of(run), run.variables["params"]
    key, batches = jax.random.key(options.seed), read(rows_at_a_time(thinker))
    seen, sums = observe_all(thinker, params, batches, options.max_problems, key)
    problems = seen["problems"]
    is_block_PJ, is_of_PJN = problems["breakpoints_BJ"] > 0, seen["is_of_BJN"]
    n_tokens_PJ = np.where(is_block_PJ, is_of_PJN.sum(axis=-1), 0)
    n_thoughts = thinker.most_in_use
    # A compiled function returns dictionaries in alphabetical order.
    scored = {name: seen["scored"][name][:3] for name in (OWN, *ways(n_thoughts), MASKED, TEXT)}
    table_VD = np.asarray(Trunks(thinker.config, params).table_VD, np.float32)
    n_PJ, v_PJKD = seen["n_BJ"], seen["v_BJKD"]
    is_used_PJK = np.arange(v_PJKD.shape[2]) < n_PJ[..., None]
    words = Words(run.tokenizer)
    standing = stands_for(problems["written_BJK"], problems["n_written_BJ"], n_PJ)
    standing = Stands(*(x_PJK[..., : v_PJKD.shape[2]] for x_PJK in standing))  # of slots in use
    result_PJK = np.broadcast_to(seen["result_BJ"][..., None], is_used_PJK.shape)
    inputs = {"what it holds": v_PJKD, "state behind it": seen["behind_BJKD"]}
    targets = {
        "written token": (standing.token, standing.is_there),
        **mark_targets(run.tokenizer, problems, standing, is_used_PJK),
        "result's first token": (result_PJK, is_used_PJK & (result_PJK >= 0)),
    }
    norm = float(np.linalg.norm(table_VD, axis=-1).mean())
    results_N = problems["block_ids_BN"][is_of_PJN.any(axis=1)]
    exchanges = intervention_records(scored, n_tokens_PJ, uniform_nats(results_N))
    supervised = run.task.supervised if isinstance(run.task, Policy) else run.task
    parts = {
        "intervention": exchanges,
        "gain": gain_records(thinker, supervised.text_weight, exchanges),
        "geometry": geometry_records(v_PJKD, is_used_PJK, norm),
        "decoded": decoded_records(words, seen, is_used_PJK, standing),
        "attention": mass_records(sums),
        "probe": probe_records(inputs, targets),
        "problem": problem_records(words, run.tokenizer, seen, is_used_PJK, standing),
    }
    asked = {"slots": thinker.slots, "n_problems": len(n_PJ), "n_thoughts": n_thoughts}
    return {
        "thoughts": [
            {"part": part, **asked, **record} for part, own in parts.items() for record in own
        ]
    }


def show(tables: Tables) -> str:
    """Return the tables of all runs."""
    return show_parts(tables["thoughts"])


def draw(tables: Tables, folder: Path) -> list[Path]:
    """Draw what results cost behind exchanged thoughts."""
    return draw_ways(tables["thoughts"], folder / "thoughts.png")
