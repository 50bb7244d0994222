"""`AC[v=256]`: arithmetic coding driven by M1, a small language model over bytes."""

from latent_jax import tokenizers
from latent_jax.methods.artefacts import FLOAT_M1, MAX_CONTEXT, load_m1
from latent_jax.methods.family import MethodName, Option, Sources
from latent_jax.methods.registry import register
from latent_jax.methods.text_code import TextCode
from latent_jax.tokenizers.counts import PRECISIONS


@register
class AC(TextCode):
    """One arithmetic code for each text."""

    name = "AC"
    rank, colour = 3, 3
    summary = "arithmetic coding driven by M1 (Lester et al. 2024, section 3.2)"
    options = {
        "v": Option("ids besides the separator: tokens of log2(v) bits"),
        "p": Option("bits of the integer counts", default=14, numbers=PRECISIONS),
    }
    example = "AC[v=256]"

    def is_driven(self, method: MethodName) -> bool:
        """Return True: M1 runs for every byte."""
        return True

    def builds(self, method: MethodName, m1: str = "") -> str:
        """Return what a float M1 takes, whose counts on this machine are in the fingerprint."""
        del method, m1
        return FLOAT_M1

    def vocab_size(self, method: MethodName) -> int:
        """Return v and the separator."""
        return method["v"] + 1

    def make_code(self, method: MethodName, sources: Sources) -> tokenizers.Tokenizer:
        """Return the coder; see `Family`."""
        model = load_m1(sources.m1, MAX_CONTEXT, sources.lanes)
        return tokenizers.AC(model, method["v"], method["p"])
