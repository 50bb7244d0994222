"""Literature names: parsed, printed, and refused with the way out."""

import pytest

from latent_jax.methods import names


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
        ("Latent[ssm,c=4,k=512,q=none]", "leave k out"),
    ],
)
def test_a_bad_name_is_refused_with_the_way_out(written, message):
    with pytest.raises(ValueError, match="(?s).*" + message.replace("[", r"\[")):
        names.parse(written)
