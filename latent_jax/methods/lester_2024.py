"""What Lester et al. 2024, "Training LLMs over Neurally Compressed Text", prints of its own runs.

The numbers are those of arXiv 2404.03626v3, which slides about the paper repeat. They are kept as
data, so that plans and tables can set them beside ours. Names are as `names.parse` prints them,
without a rule for windows: the paper has one.
"""

from collections.abc import Mapping
from typing import NamedTuple

from latent_jax.methods.family import MethodName


class Dataset(NamedTuple):
    """The training text of one method.

    Attributes:
        bytes_per_token: the token compression ratio, as printed.
        tokens: ids that are no padding.
        bytes: raw bytes of text, `tokens` times the printed ratio; but for SentencePiece, and for
            GZip[v=256], where the product is that with the tokens of StaticAC[v=256].
    """

    bytes_per_token: float
    tokens: int
    bytes: int


DATASETS: Mapping[str, Dataset] = {
    "Bytes": Dataset(1.0, 26_188_185_600, 26_188_185_600),
    "SentencePiece[v=32000]": Dataset(4.28, 26_112_163_840, 111_728_726_639),
    "AC[v=256]": Dataset(5.49, 26_083_328_000, 143_197_470_720),
    "StaticAC[v=256]": Dataset(1.73, 26_175_078_400, 45_282_885_632),
    "GZip[v=256]": Dataset(2.23, 26_175_209_472, 58_370_424_832),
    "EqualInfoAC[b=16,v=256]": Dataset(2.66, 26_154_106_880, 69_569_924_301),
    "EqualInfoAC[b=32,v=256]": Dataset(3.49, 26_109_542_400, 91_122_302_976),
    "EqualInfoAC[b=64,v=256]": Dataset(4.16, 26_110_853_120, 108_621_148_979),
    "EqualInfoAC[b=128,v=256]": Dataset(4.61, 26_078_085_120, 120_219_972_403),
    "AC[v=65536]": Dataset(10.98, 25_952_256_000, 284_955_770_880),
    "StaticAC[v=65536]": Dataset(3.46, 26_133_135_360, 90_420_648_346),
    "GZip[v=65536]": Dataset(4.47, 26_122_649_600, 116_768_243_712),
    "EqualInfoAC[b=16,v=65536]": Dataset(5.31, 26_091_192_320, 138_544_231_219),
    "EqualInfoAC[b=32,v=65536]": Dataset(6.97, 26_049_249_280, 181_563_267_482),
    "EqualInfoAC[b=64,v=65536]": Dataset(8.33, 26_004_684_800, 216_619_024_384),
    "EqualInfoAC[b=128,v=65536]": Dataset(9.22, 25_936_527_360, 239_134_782_259),
}
"""Table 12, in its order: C4, 200,000 steps of 256 rows of 512 tokens."""

NOMINAL_TOKENS = 200_000 * 256 * 512
JOINED_DOCUMENTS = 128
DOCUMENT_BYTES = 2_170
EXAMPLE_BYTES = 10_240
ROW_TOKENS = 512
"""Sections 3.1 and 3.3, appendix D.2: documents of 2,170 bytes on average are joined, 128 at a
time, and cut into examples; a row is the first 512 tokens of an example."""


class Trivial(NamedTuple):
    """Bits per byte of the two models of single tokens."""

    uniform: float
    unigram: float


TRIVIAL: Mapping[str, Trivial] = {
    "Bytes": Trivial(8.000, 4.602),
    "SentencePiece[v=32000]": Trivial(3.497, 2.443),
    "AC[v=256]": Trivial(1.457, 1.457),
    "StaticAC[v=256]": Trivial(4.624, 4.624),
    "EqualInfoAC[b=16,v=256]": Trivial(3.008, 2.976),
    "EqualInfoAC[b=32,v=256]": Trivial(2.292, 2.285),
    "EqualInfoAC[b=64,v=256]": Trivial(1.923, 1.921),
    "EqualInfoAC[b=128,v=256]": Trivial(1.735, 1.735),
    "GZip[v=256]": Trivial(3.587, 3.586),
}
"""Table 3, which has no row with v = 65,536."""

BEST_BITS_PER_BYTE = 0.87
"""SentencePiece at 2b, table 15."""

PEER_PERPLEXITIES = {"Llama-2-7b": 6.63, "Mistral-7B": 6.94}
"""Perplexities per token on C4 validation that the slides set beside that model."""


def published(method: MethodName) -> str:
    """Return the name under which the paper's tables have a method; "" if they do not have it.

    The rule for windows does not count: `EqualInfoAC[b=16,v=256]` by any rule stands beside the
    paper's own. Another reset, or GZip without its header, is another method.
    """
    options = method.options
    usual = (options.get("reset", "every"), options.get("header", "yes")) == ("every", "yes")
    shown = ",".join(f"{key}={options[key]}" for key in ("b", "v") if key in options)
    name = f"{method.family}[{shown}]" if shown else method.family
    return name if usual and name in DATASETS else ""


def expected_short_share(bytes_per_token: float) -> float:
    """Return the share of padding that cutting joined documents makes, in the mean.

    128 documents give a stretch of 277,760 bytes, and so 27.1 whole examples and one shorter one,
    whose length may be any up to 10,240 bytes. A row has 512 tokens, so an example of fewer than
    512 x ratio bytes does not fill it; the mean loss of a stretch is the triangle below that.

    Args:
        bytes_per_token: the token compression ratio.
    """
    needed = min(ROW_TOKENS * bytes_per_token, EXAMPLE_BYTES)
    lost_tokens = (ROW_TOKENS - needed / (2 * bytes_per_token)) * needed / EXAMPLE_BYTES
    n_examples = JOINED_DOCUMENTS * DOCUMENT_BYTES / EXAMPLE_BYTES + 0.5
    return lost_tokens / (n_examples * ROW_TOKENS)
