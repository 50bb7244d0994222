"""What the package carries: M1 and the compiled code."""

import json
from pathlib import Path

import pytest

from latent_jax.methods import artefacts
from latent_jax.methods.equal_info_ac import compiled
from latent_jax.methods.names import parse
from latent_jax.methods.shipped_files import INTEGER_M1
from latent_jax.methods.tokenizers import make_tokenizer
from latent_jax.tokenizers import AC, CompiledCode, EqualInfoAC

GOLDEN = Path(__file__).parents[1] / "golden" / "elephants.json"
# Lester et al. 2024, table 7.
ELEPHANTS = (
    "The three currently living species are: African savanna elephants, African forest elephants, "
    "and the Asian elephants."
)


@pytest.fixture(scope="module")
def code():
    return make_tokenizer(parse("EqualInfoAC[b=16,v=65k]"), None)


def test_the_elephants_are_cut_as_they_were(code):
    """Written once by the shipped table; another M1 or another rule of sharing cuts elsewhere."""
    ids = code.encode(ELEPHANTS.encode())
    pieces = [code.pieces[i].decode() for i in ids]
    assert "".join(pieces) == ELEPHANTS
    assert {"pieces": pieces, "ids": ids.tolist()} == json.loads(GOLDEN.read_text())


def test_the_code_is_whole(code):
    assert isinstance(code, CompiledCode)
    assert code.name == "EqualInfoAC[b=16,v=65536]" and code.vocab_size == 65537
    assert len(set(code.pieces)) == 65537


def test_other_windows_are_coded_by_m1_and_come_back():
    text = ELEPHANTS[:80].encode() + bytes(range(0, 256, 5))
    for name, kind in (("AC[v=256]", AC), ("EqualInfoAC[b=32,v=256]", EqualInfoAC)):
        tokenizer = make_tokenizer(parse(name), None, lanes=2)
        assert isinstance(tokenizer, kind) and tokenizer.name == name
        ids = tokenizer.encode(text)
        assert tokenizer.decode(ids) == text
        assert len(tokenizer.encode(text[:80])) < 80 / 2


def test_its_record_says_what_m1_was_trained_on():
    record = json.loads((artefacts.FOLDER / "m1.json").read_text())
    model = artefacts.load_m1()
    assert record["d_model"] == model.config.d_model
    assert record["text"] and record["bytes_seen"] > 1e6 and record["seconds"] > 60
    assert record["bits_per_byte"] < 2.31, "xz needs 2.31 bits per byte of this kind of text"


def test_the_integer_m1_is_read_and_says_where_it_comes_from():
    record = json.loads(Path(INTEGER_M1).with_suffix(".json").read_text())
    model = artefacts.load_m1(INTEGER_M1, context=artefacts.MAX_CONTEXT)
    assert model.is_exact and model.to_bytes() == Path(INTEGER_M1).read_bytes()
    float_m1 = artefacts.load_m1()
    assert not float_m1.is_exact and float_m1.config.d_model == model.config.d_model
    assert record["init_from"] and record["step"] > 100 and record["d_model"] == 192
    assert len(Path(INTEGER_M1).read_bytes()) < 2e6


@pytest.mark.slow
def test_the_compiled_code_is_that_of_the_shipped_m1(code):
    """Minutes: on another kind of machine M1 may give other counts, and this may fail by them."""
    again = compiled(parse("EqualInfoAC[b=16,v=65k]"))
    assert again.fingerprint() == code.fingerprint()


@pytest.mark.parametrize("name", ["b=16,v=256", "b=32,v=65k", "b=16,v=65k,reset=never"])
def test_only_windows_of_one_token_have_a_list_of_texts(name):
    with pytest.raises(ValueError, match=r"must be one token .* give rule=exact"):
        make_tokenizer(parse(f"EqualInfoAC[{name},rule=likeliest]"), None, lanes=2)


def test_a_file_that_is_no_byte_model_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"cannot be read .*prepare.py m1"):
        artefacts.load_m1(str(tmp_path / "missing"))
    content = (artefacts.FOLDER / artefacts.M1_FILE).read_bytes()
    for wrong in (b"", b"text", content[: len(content) // 2]):
        (tmp_path / "m1").write_bytes(wrong)
        with pytest.raises(ValueError, match="is no byte model, or was cut short"):
            artefacts.load_m1(str(tmp_path / "m1"))
