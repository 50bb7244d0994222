"""The families ConceptMoE and Synergy: names, what they are made of, and their config files."""

import pydoc_data.topics

import pytest

from configs import concept_moe, synergy
from latent_jax import tokenizers
from latent_jax.contracts import Vocabulary
from latent_jax.layers.middle import MiddleConfig
from latent_jax.layers.reach import AttentionReach, MambaReach
from latent_jax.methods.family import Sources
from latent_jax.methods.names import parse
from latent_jax.methods.registry import family
from latent_jax.methods.settings import check_settings
from latent_jax.methods.tasks import make_task
from latent_jax.methods.unused import unused_options
from tests.methods.hierarchical_configs import VOCABULARY as BYTES
from tests.methods.hierarchical_configs import config_of, task_of

TOKENS = Vocabulary(4096, 4095, 3.3)
TEXT = "".join(pydoc_data.topics.topics.values()).encode()[:4000]


def test_concept_moe_is_made_of_what_its_name_says():
    task = task_of("ConceptMoE[n=1.5,v=4096]", TOKENS)
    assert isinstance(task.model_config.stage.outer, AttentionReach)
    task = task_of("ConceptMoE[n=1.5,v=4096]", TOKENS, hierarchy__outer="mamba")
    stage = task.model_config.stage
    assert stage.chunker.kind == "bernoulli" and stage.chunker.rate == 1.5
    assert stage.chunker.control_steps and stage.residual == "identity"
    assert isinstance(stage.outer, MambaReach) and stage.after.reads_chunks
    assert stage.decoder.stack.n_layers == 2 and stage.decoder.stack.positions == "rotary"
    assert not isinstance(stage.inner.stack, MiddleConfig)
    assert task.unit == "tokens" and task.model_config.vocab_size == 4096
    name = "ConceptMoE[n=2,v=4096,experts=4,joint=0,router=cosine,control=0]"
    assert str(parse(name)) == name
    task = task_of(name, TOKENS, hierarchy__expert_slack=2.0, hierarchy__balance_weight=0.5)
    stage = task.model_config.stage
    assert not stage.after.reads_chunks and stage.after == stage.outer
    assert (stage.inner.stack.n_experts, stage.inner.stack.n_chosen) == (4, 2)
    assert stage.inner.stack.expert_slack == 2.0 and task.balance_weight == 0.5
    assert not stage.chunker.control_steps and stage.chunker.kind == "cosine"


def test_synergy_has_no_positions_in_the_middle_alone():
    task = task_of("Synergy[n=4]", BYTES)
    stage = task.model_config.stage
    assert stage.inner.stack.positions == "none" and task.unit == "bytes"
    assert isinstance(stage.outer, AttentionReach) and stage.outer.stack.positions == "rotary"
    assert stage.after == stage.outer and not stage.after.reads_chunks
    rotary = task_of("Synergy[n=4.5,positions=rotary]", BYTES).model_config.stage
    assert rotary.inner.stack.positions == "rotary" and rotary.chunker.rate == 4.5
    assert str(parse("Synergy[n=4.0,positions=none]")) == "Synergy[n=4]"


def test_the_code_is_that_of_the_bpe_of_the_corpus(tmp_path):
    class Corpus:
        """Says which folder is asked for."""

        def __init__(self, folder):
            self.folder = folder

        def documents(self, split, n_bytes):
            raise AssertionError("the tokenizer of BPE was there")

    tokenizer = tokenizers.BPE.train([TEXT], 270)
    method = parse("ConceptMoE[n=1.5,v=270]")
    tokenizer.save(tmp_path / "tokenizers" / "bpe-270-0")
    code = family("ConceptMoE").make_code(method, Sources(Corpus(tmp_path)))
    assert code.encode(b"an owl").tolist() == tokenizer.encode(b"an owl").tolist()
    assert family("ConceptMoE").vocab_size(method) == 270 == code.vocab_size


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("ConceptMoE[n=1.5]", r"lacks v \(ids"),
        ("ConceptMoE[n=1,v=300]", "n must be more than 1; got 1"),
        ("ConceptMoE[n=2,v=300,experts=1]", "one expert is none: leave experts out, or give 2"),
        ("ConceptMoE[n=2,v=300,joint=2]", "joint must be at most 1"),
        ("ConceptMoE[n=2,v=300,router=whitespace]", "unknown router 'whitespace'"),
        ("Synergy[n=4,positions=learned]", "unknown positions 'learned'"),
        ("Synergy[n=0.5]", "n must be more than 1; got 0.5"),
    ],
)
def test_names_that_make_no_sense_are_refused(name, message):
    with pytest.raises(ValueError, match=message):
        parse(name)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"model__positions": "learned"}, "needs model.positions=rotary; got 'learned'"),
        ({"hierarchy__expert_choices": 5}, "n_chosen=5 .hierarchy.expert_choices. of n_experts=4"),
        ({"hierarchy__widths": (8, 8)}, "has 2 widths, and ConceptMoE.* has 1 stages"),
    ],
)
def test_configurations_that_make_no_sense_are_refused(words, message):
    with pytest.raises(ValueError, match=message):
        task_of("ConceptMoE[n=1.5,v=4096,experts=4]", TOKENS, **words)


def test_what_is_set_and_not_read_is_said():
    plain = config_of("ConceptMoE[n=1.5,v=4096]", hierarchy__outer="mamba")
    (said,) = unused_options(plain, {"hierarchy.expert_choices": 3})
    assert "a method with experts would read it, and ConceptMoE[n=1.5,v=4096] has none" in said
    assert not unused_options(plain, {"hierarchy.window": 9, "hierarchy.state": 9})
    name = "ConceptMoE[n=1.5,v=4096,experts=4,joint=0]"
    experts = config_of(name, hierarchy__outer="mamba")
    assert not unused_options(experts, {"hierarchy.expert_choices": 3})
    (said,) = unused_options(experts, {"hierarchy.window": 9})
    assert "hierarchy.outer=attention would read it" in said
    (said,) = unused_options(config_of("Synergy[n=4,control=0]"), {"hierarchy.control_steps": 9})
    assert "control=1 would read it" in said


def test_the_config_files_have_a_baseline_beside_each():
    runs = concept_moe.get_config("n=2,v=300,experts=4,control=0").runs
    assert runs.concept_moe.method == "ConceptMoE[n=2,v=300,experts=4,control=0]"
    assert runs.bpe.method == "BPE[v=300]"
    assert runs.bpe.model.n_layers == runs.concept_moe.model.n_layers + 4
    pairs = synergy.get_config("n=4.5").runs
    assert pairs.synergy.method == "Synergy[n=4.5]"
    assert pairs.rotary.method == "Synergy[n=4.5,positions=rotary]"
    assert set(synergy.get_config("baseline=false").runs) == {"synergy"}
    assert concept_moe.get_config().runs.concept_moe.method == "ConceptMoE[n=1.5,v=4096]"
    for config in (*runs.values(), *pairs.values()):
        check_settings(config)
    vocabulary = Vocabulary(300, 299, 2.0)
    costs = [make_task(config, vocabulary).flops_per_byte for config in runs.values()]
    assert 0.3 < costs[0] / costs[1] < 1.3
