"""The whole analysis on a reasoner with pauses: the same probes, and nothing to exchange."""

import dataclasses
import functools
import itertools
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from latent_jax.analysis.thoughts.interventions import MASKED, SWAPPED
from latent_jax.analysis.thoughts.measure import ThoughtsOptions, measure
from latent_jax.data.chains import Chains, ChainsConfig
from latent_jax.data.problem_rows import ProblemCode
from latent_jax.tasks.latent_reasoning import LatentReasoning
from tests.small_reasoner import LAYOUT, THINKER, TOKENIZER, moved_variables

PAUSE = dataclasses.replace(THINKER, slots="pause")


def rows(n):
    """Return a batch of so many problems."""
    code = ProblemCode(TOKENIZER, LAYOUT, written="expression")
    documents = itertools.islice(Chains(ChainsConfig(n_problems=n)).documents(), n)
    examples = [code.encode_example(document) for document in documents]
    made = {name: np.stack([row.fields[name] for row in examples]) for name in code.fields}
    made["weights"] = np.ones((n, LAYOUT.length), np.float32)
    for unit in code.amounts:
        made[f"n_{unit}"] = np.array([row.amounts[unit].sum() for row in examples], np.int32)
    return {name: jnp.asarray(x) for name, x in made.items()}


@functools.cache
def records():
    """Return the records of 24 problems."""
    task = LatentReasoning(PAUSE, 0.3, text_weight=0.5)
    variables = jax.tree.map(lambda x: x, moved_variables(LatentReasoning(THINKER, 0.3)))
    config = types.SimpleNamespace(method="Thoughts[pause,k=3]", row_length=LAYOUT.length)
    run = types.SimpleNamespace(config=config, tokenizer=TOKENIZER, task=task, variables=variables)
    return measure(ThoughtsOptions(max_problems=24), run, lambda n: [rows(24)])["thoughts"]


def of_part(part):
    return [record for record in records() if record["part"] == part]


def test_pauses_are_probed_for_operand_and_operator_and_tell_nothing_by_themselves():
    assert {record["slots"] for record in records()} == {"pause"}
    found = {(r["source"], r["target"], r["slot"]): r for r in of_part("probe")}
    for target, slot in itertools.product(("operand", "operator", "written token"), (1, 2, 3)):
        held = found["what it holds", target, slot]
        assert held["accuracy"] == held["majority_share"] and held["n_train"] == 24
        assert ("state behind it", target, slot) in found


def test_pauses_of_another_problem_change_nothing_and_reading_none_does():
    ways = {r["way"]: r for r in of_part("intervention") if r["block"] == 0}
    for key in ("added_nats_per_token", "capped_nats_per_token", "lost_right_share"):
        assert ways[SWAPPED][key] == pytest.approx(0, abs=1e-5)
    assert abs(ways[MASKED]["added_nats_per_token"]) > 1e-3
    (gain,) = of_part("gain")
    saved = ways["no block, read in the text"]["added_nats_per_token"]
    assert gain["saved_nats_per_token"] == saved and gain["text_weight"] == 0.5


def test_a_problem_is_read_with_its_whole_steps():
    first, *_, last = of_part("problem")
    assert first["text_before"] == first["text_before"][:8] + "='"
    assert first["step_there"] == first["result_there"][:-1] + "='"
    assert last["step_there"].endswith("#### " + last["result_there"][1:])
    assert len(last["stands_for"]) == 3 and last["step_said"] == last["step_said_swapped"]
