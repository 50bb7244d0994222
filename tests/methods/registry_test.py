"""The registry of families: all are whole, and one that is not is refused with what is missing."""

import pytest

from configs import language_model
from latent_jax.contracts import Vocabulary
from latent_jax.methods import registry
from latent_jax.methods.family import Family, Option
from latent_jax.methods.names import parse
from latent_jax.methods.solve import budget_of
from latent_jax.methods.tasks import make_task
from latent_jax.methods.text_code import TextCode
from latent_jax.reports import style

FAMILIES = registry.families()


@pytest.fixture(autouse=True)
def _same_families_after(monkeypatch):
    monkeypatch.setattr(registry, "_FAMILIES", dict(registry._FAMILIES))


@pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)
def test_a_family_is_whole(family):
    method = parse(family.example)
    assert method.family == family.name
    assert parse(str(method)) == method
    assert set(method.options) == set(family.options)
    assert family.vocab_size(method) > 1
    assert all(option.meaning for option in family.options.values())
    assert family.summary in type(family).summary and "\n" not in family.summary


def test_every_option_is_described():
    text = registry.describe()
    for family in FAMILIES.values():
        assert f"{family.example}: {family.summary}" in text
        assert all(option.meaning in text for option in family.options.values())


def test_tables_and_pictures_show_a_family_as_it_says(monkeypatch):
    monkeypatch.setattr(style, "_FAMILIES", {})
    with pytest.raises(RuntimeError, match="no family has a look yet"):
        style.rank_of("Bytes")
    style.show_families(registry.looks())
    own = ("Bytes", "SentencePiece", "BPE", "AC", "StaticAC", "EqualInfoAC", "GZip", "Latent")
    assert sorted(own, key=style.rank_of) == [*own]
    for family in FAMILIES.values():
        grey = family.colour is None
        expected = style.QUIET if grey else style.PALETTE[family.colour]
        assert style.colour_of(family.example + ", beta=0.1") == expected
        assert style.rank_of(family.example) <= style.rank_of("Unheard[n=2]")
    assert style.colour_of("Unheard[n=2]") == style.QUIET


def test_a_family_whose_tasks_count_something_else_is_refused():
    class Pages(type(FAMILIES["Bytes"])):
        """Bytes, said to be counted in pages."""

        name = example = "Pages"
        amounts = ("pages",)

    registry.register(Pages)
    config = language_model.get_config("method=Bytes,size=nano")
    config.method = "Pages"
    with pytest.raises(ValueError, match=r"family Pages has amounts \('pages',\), and its task"):
        make_task(config, Vocabulary(257, 256, 1.0))
    # A budget is held against them before any text is read.
    config.budget.update(bytes=0.0, other="pages:5")
    assert str(budget_of(config)) == "pages:5"
    config.method = "Bytes"
    with pytest.raises(ValueError, match="unknown unit of a budget 'pages'"):
        budget_of(config)
    config.budget.update(bytes=1e6, other="", extend="pages:5")
    with pytest.raises(ValueError, match="unknown unit of a budget 'pages'"):
        budget_of(config)


def test_what_is_half_registered_says_what_it_lacks():
    class Half(TextCode):
        name = "Half"
        example = "Half"

    with pytest.raises(TypeError, match=r"'Half' in .*registry_test.py lacks summary, make_code"):
        registry.register(Half)
    assert "Half" not in registry.families()


def test_a_name_belongs_to_one_file():
    class Bytes(FAMILIES["Bytes"].__class__):
        """Another one."""

    with pytest.raises(ValueError, match="two families are called Bytes"):
        registry.register(Bytes)


def test_an_unknown_family_is_an_error_and_no_other_method():
    with pytest.raises(ValueError, match=r"unknown method 'ByteGroups'.*BPE\[v=4096\]"):
        parse("ByteGroups[n=2]")


def test_options_print_in_the_order_of_the_family():
    class Pairs(TextCode):
        """Two options, one of them usual."""

        name = "Pairs"
        summary = "a family for this test"
        options = {
            "how": Option("a word", ("in", "out"), is_positional=True),
            "n": Option("a size"),
        }
        example = "Pairs[in,n=2]"

        def defaults(self, options):
            return {"n": 3} if options.get("how") == "out" else {}

        def vocab_size(self, method):
            return method["n"]

        def make_code(self, method, sources):
            raise NotImplementedError

    registry.register(Pairs)
    assert str(parse("Pairs[ n=2k , in ]")) == "Pairs[in,n=2048]"
    assert str(parse("Pairs[out,n=3]")) == "Pairs[out]" and parse("Pairs[out]")["n"] == 3
    with pytest.raises(ValueError, match=r"lacks n \(a size\); write .* Pairs\[in,n=2\]"):
        parse("Pairs[in]")
    with pytest.raises(ValueError, match=r"unknown how .oot. .did you mean .out."):
        parse("Pairs[oot,n=2]")


def test_a_family_states_every_abstract_method():
    assert Family.__abstractmethods__ == {"vocab_size", "make_code", "make_task", "make_writer"}
    assert Vocabulary(257, 256, 1.0).flops_per_byte == 0.0
