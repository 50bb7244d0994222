"""Settings of reasoners: where written thoughts need a classifier, and what has no effect."""

import pytest

from configs import gsm8k_smollm2, latent_reasoning, reasoning_arms
from latent_jax.contracts import Vocabulary
from latent_jax.methods.registry import family
from latent_jax.methods.tasks import make_task

REFUSED = r"shorter than thoughts.slots=\d, and thoughts.end_weight=0 trains nothing .*: train with"


def task_of(config, **words):
    config.update_from_flattened_dict({key.replace("__", "."): x for key, x in words.items()})
    return make_task(config, Vocabulary(49152 if "v=49152" in config.method else 257, 256, 1.0))


def written():
    return reasoning_arms.get_config("method=Thoughts[written]")


def test_digits_of_permutations_fill_their_slots():
    assert task_of(written()).decoding and task_of(written()).fills_slots
    equation = {"thoughts__written": "equation", "thoughts__slots": 5, "row_length": 26 + 14 + 10}
    assert task_of(written(), **equation).fills_slots
    both = latent_reasoning.get_config("slots=written,curriculum=0").runs
    assert task_of(both.phase1).fills_slots and task_of(both.phase2).supervised.fills_slots


@pytest.mark.parametrize(
    "words",
    [
        {"thoughts__slots": 4, "row_length": 26 + 14 + 8},
        {"thoughts__written": "equation"},
        {"chains__kind": "arithmetic"},
        {"chains__n_operations": 2},
        {"data__source": "gsm8k"},
    ],
    ids=str,
)
def test_others_may_be_shorter_and_need_a_classifier(words):
    with pytest.raises(ValueError, match=REFUSED):
        task_of(written(), **words)
    with pytest.raises(ValueError, match=REFUSED):
        task_of(written(), thoughts__segment=0, policy__group=2, **words)
    ended = task_of(written(), thoughts__end_weight=1.0, **words)
    assert ended.decoding and not ended.fills_slots
    silent = task_of(written(), thoughts__segment=0, **words)
    # Training writes nothing, and neither does a command.
    with pytest.raises(ValueError, match=REFUSED):
        family("Thoughts").make_writer(silent, {}, None, 48)


def test_other_slots_are_not_asked():
    for method in ("Thoughts[latent,k=3]", "Thoughts[pause,k=3]", "Thoughts[none]"):
        config = reasoning_arms.get_config(f"method={method}")
        assert task_of(config, chains__kind="arithmetic").decoding


@pytest.mark.parametrize("slots", ["latent", "written", "none"])
def test_gsm8k_can_be_written_with_all_slots(slots):
    task = task_of(gsm8k_smollm2.get_config(f"slots={slots}"))
    assert task.thinker.ends == (slots == "written") and task.decoding is None
    task.check_writes()


def test_a_segment_is_no_longer_than_the_text_that_holds_it():
    arm = reasoning_arms.get_config("")
    assert task_of(arm, thoughts__segment=10**6).decoding.segment == arm.thoughts.text
    rewarded = latent_reasoning.get_config("").runs.phase2
    policy = task_of(rewarded, policy__segment=2**16)
    assert policy.config.segment == rewarded.thoughts.text


def test_more_iterations_than_thoughts_are_refused():
    arm = reasoning_arms.get_config("iterations=3")
    assert task_of(arm).thinker.iterations == 3
    with pytest.raises(ValueError, match=r"thoughts\.iterations=4: after k=3 .* set it to 3 or"):
        task_of(arm, thoughts__iterations=4)


def test_a_filler_may_be_half_a_character():
    arm = reasoning_arms.get_config("method=Thoughts[filler,k=3]")
    vocabulary = Vocabulary(257, 256, 1.0, encode=lambda text: [*text])
    arm.thoughts.filler = "\ud800"
    assert make_task(arm, vocabulary).thinker.filler_id == 0xED
