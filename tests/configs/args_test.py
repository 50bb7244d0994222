import pytest
from hypothesis import given
from hypothesis import strategies as st

from configs.args import parse_args

DEFAULTS = dict(size="nano", compressor="conv1d", c=2, beta=1.0, smoke=False, method="Bytes")


def parse(text):
    return parse_args(text, **DEFAULTS).to_dict()


@pytest.mark.parametrize("text", ["", "  "])
def test_no_arguments_keep_every_default(text):
    assert parse(text) == DEFAULTS


def test_values_take_the_types_of_the_defaults():
    values = parse("c=4,beta=2,smoke=True,size=base")
    assert values == DEFAULTS | dict(c=4, beta=2.0, smoke=True, size="base")
    assert isinstance(values["beta"], float)


def test_spaces_around_keys_and_values_do_not_count():
    assert parse(" size = micro , c=8 ") == DEFAULTS | dict(size="micro", c=8)


def test_commas_and_equal_signs_within_brackets_belong_to_the_value():
    values = parse("method=Latent[conv1d,c=2,k=512],c=8")
    assert values == DEFAULTS | dict(method="Latent[conv1d,c=2,k=512]", c=8)


def test_only_the_first_equal_sign_separates():
    assert parse("size=a=b")["size"] == "a=b"


def test_a_misspelt_argument_names_the_nearest_and_lists_all_with_defaults():
    with pytest.raises(ValueError) as error:
        parse("compresor=ssm")
    assert str(error.value) == (
        "unknown config argument 'compresor' (did you mean 'compressor'?); "
        "arguments and their defaults: size=nano, compressor=conv1d, c=2, beta=1.0, "
        "smoke=false, method=Bytes"
    )


def test_a_config_without_arguments_says_so():
    with pytest.raises(ValueError, match="'size'; this config takes no arguments"):
        parse_args("size=nano")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("c=2.0", "c='2.0' must be a whole number"),
        ("c=1e3", "must be a whole number"),
        ("c=", "c='' must be a whole number"),
        ("c=true", "must be a whole number"),
        ("beta=high", "beta='high' must be a finite number"),
        ("beta=nan", "must be a finite number"),
        ("beta=1e999", "must be a finite number"),
        ("beta=1.2.3", "must be a finite number"),
        ("smoke=1", "smoke='1' must be true or false"),
        ("size=", "size='' must be text"),
        ("smoke", "'smoke' is not key=value; arguments and their defaults: size=nano"),
        ("c=2,", "'' is not key=value"),
        ("c=2,,size=nano", "'' is not key=value"),
        ("c=2,c=4", "'c' is given twice in 'c=2,c=4'"),
        ("c=2,c=2", "'c' is given twice"),
        ("method=Latent[conv1d,c=2", "square brackets in config arguments .* do not match"),
        ("method=BPE]v=2[", "square brackets"),
        ("C=2", "did you mean 'c'"),
    ],
)
def test_what_does_not_fit_is_refused(text, message):
    with pytest.raises(ValueError, match=message.replace("[", r"\[")):
        parse(text)


def test_a_default_of_another_type_is_the_config_authors_mistake():
    with pytest.raises(TypeError, match="'sizes' must be bool, int, float or str, not tuple"):
        parse_args("sizes=1", sizes=(1, 2))


def test_the_result_refuses_misspelt_reads_and_new_words():
    args = parse_args("", **DEFAULTS)
    with pytest.raises(AttributeError):
        _ = args.compresor
    with pytest.raises(AttributeError):
        args.compresor = "ssm"


@given(
    st.fixed_dictionaries(
        {
            "whole": st.integers(),
            "number": st.floats(allow_nan=False, allow_infinity=False),
            "flag": st.booleans(),
            "text": st.from_regex(r"[A-Za-z0-9_./=-]+(\[[a-z0-9,=]+\])?", fullmatch=True),
        }
    )
)
def test_what_is_written_is_read(values):
    text = ",".join(f"{key}={value}" for key, value in values.items())
    assert parse_args(text, whole=0, number=0.5, flag=False, text="x").to_dict() == values
