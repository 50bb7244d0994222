"""How few thoughts a writer of solutions may be asked for."""

import dataclasses

import jax
import pytest

from latent_jax.generation import Sampling
from latent_jax.generation.thinking_writer import ThinkingWriter
from latent_jax.tasks.thought_slots import Curriculum
from tests.small_reasoner import LAYOUT, THINKER, TOKENIZER

STAGED = dataclasses.replace(THINKER, curriculum=Curriculum(2, steps=9))
WRITTEN = dataclasses.replace(THINKER, slots="written", curriculum=Curriculum(0), ends=True)


@pytest.mark.parametrize(("thinker", "most"), [(THINKER, 3), (STAGED, 2), (WRITTEN, 3)])
def test_no_more_slots_than_training_ended_with(thinker, most):
    assert thinker.n_slots == LAYOUT.n_slots == 3
    writer = ThinkingWriter(thinker, {}, TOKENIZER)
    for limit in (-1, 0, most):
        fewer = writer.with_thoughts(limit, thinks=True)
        assert (fewer.limit, fewer.thinks) == (limit, True)
    with pytest.raises(ValueError, match=f"k={most + 1} is more than the {most} slots"):
        writer.with_thoughts(most + 1, thinks=True)


def test_without_blocks_there_is_nothing_to_limit():
    none = dataclasses.replace(THINKER, slots="none", curriculum=Curriculum(0))
    with pytest.raises(ValueError, match="trained without blocks: it does not think"):
        ThinkingWriter(none, {}, TOKENIZER).with_thoughts(1, thinks=True)


@pytest.mark.parametrize(
    ("question", "message"),
    [
        (b"", "a prompt is empty"),
        (b" ", "a prompt is empty"),
        (b"7" * 40, "of 45 tokens leaves no"),
    ],
)
def test_a_question_without_text_or_room_is_refused(question, message):
    # Half a character, which a configuration may hold, takes the three bytes that it has in rows.
    writer = ThinkingWriter(THINKER, {}, TOKENIZER, ("\ud800", "=>"))
    with pytest.raises(ValueError, match=message):
        writer.write([question], jax.random.split(jax.random.key(0), 1), Sampling(), 20)
