"""`BPE[v=4096]`: byte-pair encoding over bytes, as in GPT-2."""

from pathlib import Path

from latent_jax import tokenizers
from latent_jax.methods.family import MethodName, Option, Sources
from latent_jax.methods.registry import register
from latent_jax.methods.text_code import TextCode


@register
class BPE(TextCode):
    """Subwords made by merging neighbours; merges are learned or read from GPT-2's files."""

    name = "BPE"
    rank, colour = 2, 1
    summary = "byte-pair encoding over bytes (Sennrich et al. 2016; Radford et al. 2019)"
    options = {"v": Option("ids, the separator included")}
    example = "BPE[v=4096]"
    learns_code = True
    reads_gpt2_files = True

    def vocab_size(self, method: MethodName) -> int:
        """Return v; the separator is one of them."""
        return method["v"]

    def make_code(self, method: MethodName, sources: Sources) -> tokenizers.Tokenizer:
        """Return the BPE; see `Family`."""
        if sources.vocab_file or sources.merges_file:
            return _from_files(method, sources.vocab_file, sources.merges_file)
        return sources.kept(method, lambda texts: tokenizers.BPE.train(texts, method["v"]))


def _from_files(method: MethodName, vocab_file: str, merges_file: str) -> tokenizers.BPE:
    if not (vocab_file and merges_file):
        raise ValueError(
            f"tokenizer.vocab_file={vocab_file!r} and tokenizer.merges_file={merges_file!r} go "
            "together: give both"
        )
    files = Path(vocab_file).expanduser(), Path(merges_file).expanduser()
    tokenizer = tokenizers.BPE.from_files(*files)
    if tokenizer.vocab_size != method["v"]:
        raise ValueError(
            f"{vocab_file} holds {tokenizer.vocab_size} ids and the method is {method}: "
            f"set method=BPE[v={tokenizer.vocab_size}]"
        )
    return tokenizer
