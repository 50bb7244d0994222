"""Are thoughts used, what are they like, and what do they say? Records of a trained reasoner.

Six questions, each one kind of records, told apart by "part": results behind exchanged thoughts
(`interventions`), their geometry (`geometry`), the tokens near them (`decoded`), attention to them
(`mass`), linear probes (`probes`), and one problem token by token.
"""

import dataclasses
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import jax
import numpy as np

from latent_jax.analysis.codes import Tables, TrainedRun
from latent_jax.analysis.options import ReasonerOptions, seed_option
from latent_jax.analysis.thoughts.decoded import Words, decoded_record
from latent_jax.analysis.thoughts.figure import draw_ways
from latent_jax.analysis.thoughts.geometry import geometry_records
from latent_jax.analysis.thoughts.interventions import (
    OWN,
    SWAPPED,
    TEXT,
    intervention_records,
    ways,
)
from latent_jax.analysis.thoughts.mass import mass_records
from latent_jax.analysis.thoughts.observe import observe_all
from latent_jax.analysis.thoughts.probes import probe_records, stands_for
from latent_jax.analysis.thoughts.shown import show_parts
from latent_jax.contracts import Batch
from latent_jax.models.trunks import Trunks
from latent_jax.reports.spelling import quoted
from latent_jax.tasks.latent_reasoning import LatentReasoning
from latent_jax.tasks.policy import Policy
from latent_jax.tasks.thinker import Thinker
from latent_jax.tokenizers import Tokenizer

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
    scored = {name: seen["scored"][name][:3] for name in (OWN, *ways(n_thoughts), TEXT)}
    table_VD = np.asarray(Trunks(thinker.config, params).table_VD, np.float32)
    n_PJ, v_PJKD = seen["n_BJ"], seen["v_BJKD"]
    is_used_PJK = np.arange(v_PJKD.shape[2]) < n_PJ[..., None]
    words = Words(run.tokenizer)
    standing = stands_for(problems["written_BJK"], problems["n_written_BJ"], n_PJ)
    standing = tuple(x_PJK[..., : v_PJKD.shape[2]] for x_PJK in standing)  # of slots in use
    result_PJK = np.broadcast_to(seen["result_BJ"][..., None], is_used_PJK.shape)
    inputs = {"what it holds": v_PJKD, "state behind it": seen["behind_BJKD"]}
    targets = {
        "written token": standing,
        "result's first token": (result_PJK, is_used_PJK & (result_PJK >= 0)),
    }
    norm = float(np.linalg.norm(table_VD, axis=-1).mean())
    parts = {
        "intervention": intervention_records(scored, n_tokens_PJ),
        "geometry": geometry_records(v_PJKD, is_used_PJK, norm),
        "decoded": _decoded(words, seen, is_used_PJK, standing),
        "attention": mass_records(sums),
        "probe": probe_records(inputs, targets),
        "problem": _one_problem(words, run.tokenizer, seen, is_used_PJK, standing),
    }
    asked = {"n_problems": len(n_PJ), "n_thoughts": n_thoughts}
    return {
        "thoughts": [
            {"part": part, **asked, **record} for part, own in parts.items() for record in own
        ]
    }


def _decoded(
    words: Words,
    seen: dict[str, Any],
    is_used_PJK: np.ndarray,
    standing: tuple[np.ndarray, np.ndarray],
) -> list[dict[str, Any]]:
    """Return records of what thoughts and states of the text decode to, and of the vocabulary."""
    result_PJ, problems = seen["result_BJ"], seen["problems"]
    other_PJ = np.roll(result_PJ, -1, axis=0)
    has_both_PJ = (result_PJ >= 0) & (other_PJ >= 0)
    written_PJK, is_written_PJK = standing
    records = []
    for way in ("cosine", "logits"):
        top_PJK5 = seen[f"thoughts_by_{way}"]
        for slot in range(top_PJK5.shape[2]):
            is_used_PJ = is_used_PJK[:, :, slot]
            if not is_used_PJ.any():
                continue
            top_PJ5, both_PJ = top_PJK5[:, :, slot], is_used_PJ & has_both_PJ
            record = decoded_record(words, top_PJ5[is_used_PJ])
            known = (top_PJ5[both_PJ], result_PJ[both_PJ], other_PJ[both_PJ])
            if both_PJ.any():
                record |= _in_five(decoded_record(words, *known))
            if (there_PJ := is_used_PJ & is_written_PJK[:, :, slot]).any():
                pair = top_PJ5[there_PJ][:, 0] == written_PJK[:, :, slot][there_PJ]
                record["written_first_share"] = float(pair.mean())
            what = "thoughts" if way == "cosine" else "states before thoughts"
            records.append({"what": what, "by": way, "slot": slot + 1, **record})
        text_PT5 = seen[f"text_by_{way}"]
        problem_M, block_M = np.nonzero(problems["breakpoints_BJ"] > 0)
        at_M = problems["breakpoints_BJ"][problem_M, block_M]
        # A block behind the last position of a row has no state in the text.
        is_in_M = at_M < text_PT5.shape[1]
        problem_M, block_M, at_M = (x[is_in_M] for x in (problem_M, block_M, at_M))
        top_M5, both_M = text_PT5[problem_M, at_M], has_both_PJ[problem_M, block_M]
        if len(top_M5):
            record = decoded_record(words, top_M5)
            if both_M.any():
                results = (x[problem_M, block_M][both_M] for x in (result_PJ, other_PJ))
                record |= _in_five(decoded_record(words, top_M5[both_M], *results))
            records.append({"what": "text at breakpoints", "by": way, **record})
        answers_M5 = text_PT5[problems["segment_BT"] > 0]
        records.append({"what": "text of answers", "by": way, **decoded_record(words, answers_M5)})
    everything = np.arange(len(words.script_V))
    vocabulary = {"n_vectors": len(everything), **words.shares(everything)}
    return [*records, {"what": "all tokens", **vocabulary}]


def _in_five(record: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in record.items() if key.endswith("_in_five_share")}


def _one_problem(
    words: Words,
    tokenizer: Tokenizer,
    seen: dict[str, Any],
    is_used_PJK: np.ndarray,
    standing: tuple[np.ndarray, np.ndarray],
) -> list[dict[str, Any]]:
    """Return a record for each slot of the first problem whose blocks all have other thoughts."""
    problems, is_compared_PJ = seen["problems"], seen["scored"][SWAPPED][2]
    opens_PJ = problems["breakpoints_BJ"]
    is_whole_P = (is_compared_PJ == (opens_PJ > 0)).all(axis=1) & (opens_PJ > 0).any(axis=1)
    if not is_whole_P.any():
        return []
    at = int(np.argmax(is_whole_P))
    is_text = (problems["segment_BT"][at] > 0) | (
        np.arange(problems["ids_BT"].shape[1]) < np.argmax(problems["segment_BT"][at] > 0)
    )
    ids, opens = problems["ids_BT"][at][is_text], opens_PJ[at]
    records = []
    for block in np.nonzero(opens > 0)[0]:
        begin = max([0, *(opens[opens < opens[block]])])
        place = seen["is_of_BJN"][at, block]
        said = {
            f"result_{name}": quoted(tokenizer.decode(ids_BN[at][place]))
            for name, ids_BN in (
                ("there", problems["block_ids_BN"]),
                ("said", seen["scored"][OWN][3]),
                ("said_swapped", seen["scored"][SWAPPED][3]),
            )
        }
        for slot in np.nonzero(is_used_PJK[at, block])[0]:
            near = {
                f"by_{way}": " ".join(
                    quoted(words.text([token]))
                    for token in seen[f"thoughts_by_{way}"][at, block, slot]
                )
                for way in ("cosine", "logits")
            }
            written_PJK, is_written_PJK = standing
            token = [written_PJK[at, block, slot]] if is_written_PJK[at, block, slot] else []
            records.append(
                {
                    "problem": at,
                    "text_before": quoted(tokenizer.decode(ids[begin : opens[block]])),
                    "block": int(block) + 1,
                    "slot": int(slot) + 1,
                    "stands_for": quoted(words.text(token)) if token else None,
                    **near,
                    **said,
                }
            )
    return records


def show(tables: Tables) -> str:
    """Return the tables of all runs."""
    return show_parts(tables["thoughts"])


def draw(tables: Tables, folder: Path) -> list[Path]:
    """Draw what results cost behind exchanged thoughts."""
    return draw_ways(tables["thoughts"], folder / "thoughts.png")
