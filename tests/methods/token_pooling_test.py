"""The families TokenPooling and Hourglass: names, parts, rows, and the config file."""

import pydoc_data.topics

import pytest

from configs import token_pooling
from latent_jax.codec.compress import open_tokenizer
from latent_jax.codec.encode import EncodeConfig, encode_corpus
from latent_jax.data import DataConfig
from latent_jax.data.packing import RowLayout
from latent_jax.layers.reach import AttentionReach, MambaReach
from latent_jax.methods.family import Sources
from latent_jax.methods.names import parse
from latent_jax.methods.registry import family
from latent_jax.methods.row_codes import config_batch_spec
from latent_jax.methods.settings import check_settings
from latent_jax.methods.tasks import make_task
from latent_jax.methods.unused import unused_options
from latent_jax.tokenizers import BPE, Bytes, SentencePiece
from tests.methods.hierarchical_configs import VOCABULARY, config_of, task_of

TEXT = "".join(pydoc_data.topics.topics.values())[:30_000].encode()


@pytest.mark.parametrize(
    ("name", "router", "control", "text"),
    [
        ("TokenPooling[n=4]", "gumbel", 1, "TokenPooling[n=4]"),
        ("TokenPooling[n=4,router=gumbel]", "gumbel", 1, "TokenPooling[n=4]"),
        ("TokenPooling[n=4,control=0]", "gumbel", 0, "TokenPooling[n=4,control=0]"),
        ("TokenPooling[n=3,router=spikes]", "spikes", 1, "TokenPooling[n=3,router=spikes]"),
        (
            "TokenPooling[n=4,router=bpe,v=4096]",
            "taught",
            1,
            "TokenPooling[n=4,router=bpe]",
        ),
        (
            "TokenPooling[n=4,v=1k,router=sentencepiece]",
            "taught",
            1,
            "TokenPooling[n=4,router=sentencepiece,v=1024]",
        ),
        (
            "TokenPooling[n=6,router=whitespace,control=0]",
            "whitespace",
            0,
            "TokenPooling[n=6,router=whitespace]",
        ),
        ("TokenPooling[n=4,router=stride]", "stride", 0, "TokenPooling[n=4,router=stride]"),
        ("Hourglass[n=3]", "stride", 0, "Hourglass[n=3]"),
        ("Hourglass[n=3,pooling=mean]", "stride", 0, "Hourglass[n=3,pooling=mean]"),
        ("Hourglass[up=repeat,n=3]", "stride", 0, "Hourglass[n=3]"),
    ],
)  # fmt: skip
def test_names_say_how_chunks_are_made(name, router, control, text):
    method = parse(name)
    assert str(method) == text
    stage = task_of(name).model_config.stage
    chunker, is_linear = stage.chunker, text == "Hourglass[n=3]"
    assert chunker.kind == router and bool(chunker.control_steps) == bool(control)
    assert chunker.rate == method["n"]
    assert chunker.pooling == ("linear" if is_linear else "mean")
    assert (stage.way_back, stage.residual) == ("repeat", "identity")
    assert isinstance(stage.outer, AttentionReach) and stage.is_innermost


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("TokenPooling", r"lacks n \(bytes per chunk"),
        ("TokenPooling[n=4,router=gumble]", "unknown router 'gumble' .did you mean 'gum"),
        (
            "TokenPooling[n=4,boundaries=bpe]",
            "option 'boundaries' of TokenPooling is called 'router' now: write router=bpe in",
        ),
        ("TokenPooling[n=4,v=300]", "router=bpe or sentencepiece only"),
        ("TokenPooling[n=4,router=bpe,v=0]", "router=bpe or sentencepiece only"),
        ("TokenPooling[n=4,router=stride,control=1]", "stride decides by itself"),
        ("Hourglass[n=1]", "n must be at least 2"),
        ("Hourglass[n=4,pooling=pick]", "unknown pooling 'pick'"),
        ("HNet[n=4,router=taught]", "unknown router 'taught'"),
        ("HNet[n=4,router=spikes,stages=2]", "spikes is taught boundaries of bytes, .* leave st"),
    ],
)
def test_names_that_make_no_sense_are_refused(name, message):
    with pytest.raises(ValueError, match=message):
        parse(name)


@pytest.mark.parametrize(("word", "kind"), [("bpe", BPE), ("sentencepiece", SentencePiece)])
def test_rows_have_the_boundaries_of_the_tokenizer_that_teaches(word, kind):
    asked = []

    class Kept(Sources):
        def kept(self, method, train):
            asked.append(str(method))
            return train([TEXT])

    known, method = family("TokenPooling"), parse(f"TokenPooling[n=4,router={word},v=400]")
    code = known.make_code(method, Kept())
    assert type(code.pieces) is kind and asked == [f"{kind.__name__}[v=400]"], "one for all n"
    config = config_of(str(method))
    said, made = known.row_layout(method, config), RowLayout.of(code, config.row_length)
    assert said.fields["boundaries"] == made.fields["boundaries"]
    assert set(said.fields) == set(made.fields) == set(task_of(str(method)).fields)
    spec = config_batch_spec(config)
    assert spec["boundaries"].dtype == bool and spec["boundaries"].shape == spec["ids"].shape
    with pytest.raises(ValueError, match="is learned from text: name some with --data"):
        known.make_code(method, Sources())


@pytest.mark.parametrize("word", ["bpe", "sentencepiece"])
def test_rows_that_were_encoded_beforehand_have_no_boundaries(word, tmp_path):
    """Encoded rows are ids alone: refused where they are made, and where they are read."""
    name = f"TokenPooling[n=4,router={word},v=400]"
    (tmp_path / "text.txt").write_bytes(TEXT)
    words = dict(validation_percent=0.0, test_percent=0.0, cache_dir=str(tmp_path / "cache"))
    data = DataConfig(source="files", files=(str(tmp_path / "text.txt"),), **words)
    with pytest.raises(ValueError, match="hold boundaries beside ids, and encoded rows hold ids"):
        encode_corpus(EncodeConfig(tokenizer=name, row_length=64), data, tmp_path / "rows")
    config = config_of(name, data__source="encoded", data__files=(str(tmp_path / "rows"),))
    with pytest.raises(ValueError, match=r"data\.source='encoded' holds rows of ids, .*boundaries"):
        check_settings(config)
    check_settings(config_of("TokenPooling[n=4]", data__source="encoded"))


def test_a_code_is_learned_where_a_tokenizer_teaches():
    for name, expected in (("n=4", False), ("n=4,router=stride", False), ("n=4,router=bpe", True)):
        method = parse(f"TokenPooling[{name}]")
        assert family("TokenPooling").is_learned(method) == expected
    assert family("BPE").is_learned(parse("BPE[v=300]"))
    assert not family("Bytes").is_learned(parse("Bytes"))
    with pytest.raises(ValueError, match=r"router=bpe\] is learned from text: compress and decomp"):
        open_tokenizer("TokenPooling[n=4,router=bpe]")
    assert type(open_tokenizer("TokenPooling[n=4]")) is Bytes


def test_other_boundaries_need_no_field():
    known = family("TokenPooling")
    for word in ("gumbel", "spikes", "whitespace", "stride"):
        method = parse(f"TokenPooling[n=4,router={word}]")
        code = known.make_code(method, Sources())
        assert type(code) is Bytes
        made = RowLayout.of(code, 8).fields
        assert set(known.row_layout(method, config_of(str(method))).fields) == set(made) == {"ids"}
        assert task_of(str(method)).fields == ("ids",)


def test_blocks_are_those_of_the_paper_unless_others_are_asked_for():
    for name, usual in (("HNet[n=4]", MambaReach), ("TokenPooling[n=4]", AttentionReach)):
        assert isinstance(task_of(name).model_config.stage.outer, usual)
        for outer, reach in (("mamba", MambaReach), ("attention", AttentionReach)):
            stage = task_of(name, hierarchy__outer=outer).model_config.stage
            assert isinstance(stage.outer, reach)
    config = config_of("TokenPooling[n=4]")
    assert not unused_options(config, {"hierarchy.window": 9})
    (line,) = unused_options(config, {"hierarchy.state": 9})
    assert "hierarchy.outer=mamba would read it, and here it is attention" in line
    (line,) = unused_options(config_of("Hourglass[n=4]"), {"hierarchy.control_steps": 9})
    assert "Hourglass[n=4] holds no rate" in line


def test_the_weight_of_the_router_s_loss_is_its_paper_s():
    for name, weight in (
        ("TokenPooling[n=4]", 1.0),
        ("TokenPooling[n=4,router=bpe]", 1.0),
        ("TokenPooling[n=4,router=stride]", 0.0),
        ("HNet[n=4]", 0.03),
        ("HNet[n=4,router=gumbel]", 1.0),
    ):
        assert task_of(name).weight == weight
        assert task_of(name, hierarchy__boundary_weight=0.0).weight == 0.0
        assert task_of(name, hierarchy__boundary_weight=0.5).weight == 0.5
    with pytest.raises(ValueError, match=r"boundary_weight must be at least 0, or -1 for that"):
        task_of("HNet[n=4]", hierarchy__boundary_weight=-0.5)


def test_the_linear_pooling_is_counted_by_chunk():
    linear, mean = (task_of(f"Hourglass[n=4,pooling={kind}]") for kind in ("linear", "mean"))
    d = linear.model_config.stage.width
    length = linear.row_length
    share = linear.model_config.stage.chunker.capacity(length) / length
    found = linear.component_flops["router"] - mean.component_flops["router"]
    assert found == pytest.approx(share * 2 * 4 * d * d - d)


def test_bytes_read_all_chunks_by_attention_if_asked_for():
    plain, up = (task_of(f"Hourglass[n=4{rest}]") for rest in ("", ",up=attention"))
    stage = up.model_config.stage
    assert plain.model_config.stage.up is None and stage.way_back == "repeat"
    assert stage.up.stack == stage.outer.stack and stage.up.window == 0
    found = up.component_flops["decoder"] - plain.component_flops["decoder"]
    n_chunks = stage.chunker.capacity(up.row_length)
    assert found == pytest.approx(stage.up.forward_flops(up.row_length, n_chunks))
    with pytest.raises(ValueError, match=r"hierarchy\.outer to attention, got 'mamba'"):
        task_of("Hourglass[n=4,up=attention]", hierarchy__outer="mamba")
    with pytest.raises(ValueError, match="unknown up 'attend'"):
        parse("Hourglass[n=4,up=attend]")


def test_entropies_that_teach_are_paid_in_training():
    for router, n_heads in (("spikes", 1), ("gumbel", 0), ("bpe", 0)):
        task = task_of(f"TokenPooling[n=4,router={router}]")
        rest = task.train_flops_per_byte - 3 * task.flops_per_byte
        assert rest == pytest.approx(n_heads * task.component_flops["head"], abs=1e-3)


def test_the_config_file_has_a_byte_model_beside_it():
    runs = token_pooling.get_config("n=3,router=bpe,v=1024,control=0").runs
    assert runs.pooling.method == "TokenPooling[n=3,router=bpe,v=1024,control=0]"
    assert runs.bytes.budget == runs.pooling.budget and runs.bytes.method == "Bytes"
    for config in (*runs.values(), token_pooling.get_config("family=Hourglass").runs.pooling):
        check_settings(config)
        assert make_task(config, VOCABULARY).flops_per_byte > 1e5
    assert set(token_pooling.get_config("baseline=false").runs) == {"pooling"}
    with pytest.raises(ValueError, match="every n bytes: leave router=spikes, control=1 out"):
        token_pooling.get_config("family=Hourglass,router=spikes,control=1")
    runs = token_pooling.get_config("family=Hourglass,up=attention,baseline=false").runs
    assert runs.pooling.method == "Hourglass[n=4,up=attention]"
    with pytest.raises(ValueError, match="up=attention is of Hourglass: leave it out, or state"):
        token_pooling.get_config("up=attention")
    with pytest.raises(ValueError, match=r"unknown family 'Hourglas' .did you mean 'Hourglass'"):
        token_pooling.get_config("family=Hourglas")
