"""One problem, read with its thoughts: what they decode to, and what the next step becomes."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from latent_jax.analysis.codes import Records
from latent_jax.analysis.thoughts.decoded import Words
from latent_jax.analysis.thoughts.interventions import OWN, SWAPPED
from latent_jax.analysis.thoughts.probes import Stands
from latent_jax.reports.page.analyses import figure_id, has
from latent_jax.reports.page.parts import Table
from latent_jax.spelling import quoted
from latent_jax.tokenizers import Tokenizer

_KEYS = (
    "text_before",
    "block",
    "slot",
    "stands_for",
    "by_cosine",
    "by_logits",
    "step_there",
    "step_said",
    "step_said_swapped",
)

_CAPTION = (
    "One row for each slot: the text before its block, the tokens nearest to what the slot holds "
    "and to the state before it, the next step as it stands, the likeliest tokens behind these "
    "thoughts, and behind those of another problem. Each token is predicted behind the true ones."
)


def problem_records(
    words: Words,
    tokenizer: Tokenizer,
    seen: Mapping[str, Any],
    is_used_PJK: np.ndarray,
    standing: Stands,
) -> list[dict[str, Any]]:
    """Return a record for each slot of the first problem whose blocks all have other thoughts.

    Args:
        words: of the vocabulary.
        tokenizer: of the run.
        seen: see `observe.observe_all`.
        is_used_PJK: bool, slots in use.
        standing: what slots stand for.

    Returns:
        Texts in quotes. "result_..." is the part of "step_..." that states the result.
    """
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
        places = {
            "result": seen["is_of_BJN"][at, block],
            "step": problems["block_BN"][at] == block + 1,
        }
        said = {
            f"{what}_{name}": quoted(tokenizer.decode(ids_BN[at][place]))
            for what, place in places.items()
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
            is_there = standing.is_there[at, block, slot]
            token = [standing.token[at, block, slot]] if is_there else []
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


def problem_tables(stem: str, records: Records) -> list[Table]:
    """Return the tables of a page, one for each run in which a problem was read.

    Args:
        stem: of the file of records.
        records: of the analysis, all parts and runs.
    """
    own = [record for record in records if record["part"] == "problem"]
    runs = list(dict.fromkeys(record["run"] for record in own))
    tables = []
    for number, run in enumerate(runs):
        rows = [record for record in own if record["run"] == run]
        title = "One problem, read with its thoughts"
        title += f": {rows[0]['name']}" if len(runs) > 1 else ""
        keys = [key for key in _KEYS if has(rows, key)]
        words = ("problem", str(number + 1)) if number else ("problem",)
        tables.append(Table(figure_id(stem, *words), title, _CAPTION, rows, keys))
    return tables
