"""Lists of methods that several sweeps share."""

COMPRESSED = (
    "AC[v=256]",
    "AC[v=65k]",
    "StaticAC[v=256]",
    "StaticAC[v=65k]",
    "EqualInfoAC[b=16,v=256]",
    "EqualInfoAC[b=16,v=65k]",
    "EqualInfoAC[b=32,v=256]",
    "EqualInfoAC[b=32,v=65k]",
    "EqualInfoAC[b=64,v=256]",
    "EqualInfoAC[b=64,v=65k]",
    "EqualInfoAC[b=128,v=256]",
    "EqualInfoAC[b=128,v=65k]",
    "GZip[v=256]",
    "GZip[v=65k]",
)

SIXTEEN = ("Bytes", "SentencePiece[v=32000]", *COMPRESSED)
"""The methods in tables 15 and 16 of Lester et al. 2024."""

SIX = (
    "Bytes",
    "SentencePiece[v=32000]",
    "AC[v=256]",
    "EqualInfoAC[b=16,v=256]",
    "EqualInfoAC[b=16,v=65k]",
    "GZip[v=256]",
)
"""The main methods, for runs with several seeds and for larger budgets."""

BEYOND = ("BPE[v=4096]", "Latent[conv1d,c=2,k=512]")
"""Methods that are not in the paper: another subword vocabulary, and learned latents, whose bits
per byte are the full code length.
"""
