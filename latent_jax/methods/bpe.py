"""`BPE[v=4096]`: byte-pair encoding over bytes, as in GPT-2."""

from pathlib import Path

from latent_jax import tokenizers
from latent_jax.methods.family import MethodName, Option, Sources
from latent_jax.methods.registry import register
from latent_jax.methods.text_code import TextCode
from latent_jax.models.pretrained import GGUF_SUFFIX, published_tokenizer
from latent_jax.tokenizers.published import TOKENIZER_JSON


@register
class BPE(TextCode):
    """Subwords made by merging neighbours; merges are learned, or read from published files."""

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


def _from_files(method: MethodName, vocab_file: str, merges_file: str) -> tokenizers.Tokenizer:
    if vocab_file and not merges_file and _is_published(vocab_file):
        return _with_ids(method, published_tokenizer(_path(vocab_file), method["v"]), vocab_file)
    if not (vocab_file and merges_file):
        raise ValueError(
            f"tokenizer.vocab_file={vocab_file!r} and tokenizer.merges_file={merges_file!r} go "
            "together: give both, or as vocab_file alone a .gguf or a tokenizer.json"
        )
    tokenizer = tokenizers.BPE.from_files(_path(vocab_file), _path(merges_file))
    return _with_ids(method, tokenizer, vocab_file)


def _is_published(file: str) -> bool:
    names = {TOKENIZER_JSON, *tokenizers.PretrainedBPE.file_names}
    return Path(file).suffix == GGUF_SUFFIX or Path(file).name in names


def _path(file: str) -> Path:
    return Path(file).expanduser()


def _with_ids(
    method: MethodName, tokenizer: tokenizers.Tokenizer, vocab_file: str
) -> tokenizers.Tokenizer:
    """Return the tokenizer, which must have as many ids as the method says."""
    if tokenizer.vocab_size != method["v"]:
        raise ValueError(
            f"{vocab_file} holds {tokenizer.vocab_size} ids and the method is {method}: "
            f"set method=BPE[v={tokenizer.vocab_size}]"
        )
    return tokenizer
