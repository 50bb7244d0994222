"""Literature names: parsed, printed, and refused with the way out."""

import re
import tracemalloc

import pytest

from latent_jax.methods import names
from latent_jax.methods.family import Option
from latent_jax.methods.hnet import HNet
from latent_jax.ranges import within


@pytest.mark.parametrize(
    ("written", "printed"),
    [
        ("Bytes", "Bytes"),
        ("BPE[v=32000]", "BPE[v=32000]"),
        ("BPE[v=32k]", "BPE[v=32768]"),
        ("SentencePiece[v=50k]", "SentencePiece[v=50000]"),
        (" Latent[ conv1d , c=2 , k=512 ] ", "Latent[conv1d,c=2,k=512]"),
        ("Latent[k=65k,c=4,ssm]", "Latent[ssm,c=4,k=65536]"),
        ("Latent[compressor=ssm,c=4,k=512,q=fsq]", "Latent[ssm,c=4,k=512,q=fsq]"),
        ("Latent[ssm,c=4,k=512,q=vq]", "Latent[ssm,c=4,k=512]"),
        ("Latent[ssm,c=4,q=none]", "Latent[ssm,c=4,q=none]"),
        ("GZip[v=65k]", "GZip[v=65536]"),
        ("GZip[v=256,header=no]", "GZip[v=256,header=no]"),
        ("StaticAC[v=256]", "StaticAC[v=256]"),
        ("AC[v=65k,p=16]", "AC[v=65536,p=16]"),
        ("EqualInfoAC[b=16,v=65k]", "EqualInfoAC[b=16,v=65536]"),
        ("EqualInfoAC[b=16,v=65k,rule=likeliest]", "EqualInfoAC[b=16,v=65536]"),
        ("EqualInfoAC[b=16,v=65k,rule=exact]", "EqualInfoAC[b=16,v=65536,rule=exact]"),
        ("EqualInfoAC[b=16,v=65k,reset=never]", "EqualInfoAC[b=16,v=65536,reset=never]"),
        ("EqualInfoAC[v=256,b=32,p=14,rule=exact]", "EqualInfoAC[b=32,v=256]"),
        ("EqualInfoAC[b=32,v=256,rule=paper,p=16]", "EqualInfoAC[b=32,v=256,rule=paper,p=16]"),
        ("EqualInfoAC[b=8,v=2,reset=every_other]", "EqualInfoAC[b=8,v=2,reset=every_other]"),
    ],
)
def test_a_name_is_printed_in_one_way(written, printed):
    assert str(names.parse(written)) == printed
    assert names.parse(printed) == names.parse(written)


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("Byts", "did you mean 'Bytes'"),
        ("BPE", "lacks v"),
        ("BPE[v=many]", "not a positive whole number"),
        ("BPE[v=0]", "not a positive whole number"),
        ("BPE[v=512,v=512]", "stands twice"),
        ("BPE[w=512]", "unknown option"),
        ("Bytes[v=256]", "takes none"),
        ("Latent[conv1d,c=2]", "lacks k"),
        ("Latent[conv1d,c=2,k=512,quant=fsq]", "unknown option 'quant=fsq'"),
        ("BPE[v=512", "is not a method"),
        ("EqualInfoAC[v=256]", "lacks b"),
        ("EqualInfoAC[b=16,v=256,rule=papr]", "did you mean 'paper'"),
        ("GZip[v=256,header=maybe]", "GZip[v=256,header=maybe]: unknown header 'maybe'"),
        ("Latent[ssm,c=4,k=512,q=none]", "leave k out"),
        ("EqualInfoAC[b=99999999999999999999,v=256]", "b must be at most 128; got 9999"),
        ("EqualInfoAC[b=100000000000,v=256]", "b must be at most 128; got 100000000000"),
        ("EqualInfoAC[b=4,v=256]", "b must be at least 8; got 4"),
        ("AC[v=256,p=40]", "p must be at most 16; got 40"),
        ("BPE[v=3000M]", "v must be at most 2147483647; got 3000000000"),
        (f"AC[v={'9' * 5000}]", "it has 5,006 characters, and a name has at most 200"),
        (f"AC[v=256,p={'9' * 90}]", "p must be at most 16; got 9999"),
        (f"Latent[{'w' * 150}]", "unknown compressor 'wwww"),
        ("AC[v=٢٥٦]", "'٢٥٦' is not a positive whole number"),  # Arabic-Indic digits
        ("BPE[v=1_000]", "'1_000' is not a positive whole number"),
        ("Bytes[,]", "'Bytes[,]' has a comma without an option"),
        ("AC[v=256,]", "has a comma without an option"),
        ("AC[v]", "option 'v' has no value in 'AC[v]'; write a name such as AC[v=256]"),
        ("AC[v=]", "option 'v' has no value"),
    ],
)
def test_a_bad_name_is_refused_with_the_way_out(written, message):
    with pytest.raises(ValueError, match="(?s).*" + message.replace("[", r"\[")) as error:
        names.parse(written)
    assert not re.search(r"9{61}|w{61}", str(error.value)), "no long value is echoed"


def test_fractions_are_printed_as_they_are_read(monkeypatch):
    share = Option("a share", numbers=within("[0, 1]"), is_whole=False, default=0.25)
    monkeypatch.setattr(HNet, "options", {**HNet.options, "q": share})
    for written, printed in (("0.000001", "0.000001"), ("0.50", "0.5"), ("0", "0"), ("1.0", "1")):
        method = names.parse(f"HNet[n=4,q={written}]")
        assert str(method) == f"HNet[n=4,q={printed}]" and names.parse(str(method)) == method
    assert str(names.parse("HNet[n=4,q=0.25]")) == "HNet[n=4]"
    with pytest.raises(ValueError, match=r"default must be a whole number in \[0, 1\]; got 0.25"):
        Option("a share", numbers=within("[0, 1]"), default=0.25)


def test_a_stranger_s_name_costs_no_memory():
    tracemalloc.start()
    with pytest.raises(ValueError, match="b must be at most 128"):
        names.parse("EqualInfoAC[b=1000M,v=256]")
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 1 << 20
