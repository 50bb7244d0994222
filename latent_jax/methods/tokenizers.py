"""From a literature name to a tokenizer, which is trained or compiled once and kept."""

from latent_jax.data import Corpus
from latent_jax.methods.family import MethodName, Sources
from latent_jax.methods.registry import family
from latent_jax.tokenizers import Tokenizer


def make_tokenizer(method: MethodName, corpus: Corpus | None = None, **sources) -> Tokenizer:
    """Return the tokenizer of a method; latent methods read bytes.

    Args:
        method: parsed.
        corpus: text to learn from; its folder keeps what was learned.
        **sources: the other fields of `Sources`.

    Raises:
        ValueError: the text is too small for the vocabulary, options do not go together, files are
            given that the method cannot use, or one cannot be read.
        FingerprintError: the kept files were changed.
    """
    given = Sources(corpus, **sources)
    known = family(method.family)
    if (given.vocab_file or given.merges_file) and not known.reads_gpt2_files:
        raise ValueError(
            f"tokenizer.vocab_file={given.vocab_file!r} and tokenizer.merges_file="
            f"{given.merges_file!r} go with a BPE[v=N] method; the method is {method}"
        )
    code = known.make_code(method, given)
    if code.vocab_size != known.vocab_size(method):
        raise ValueError(
            f"the family {known.name} says that {method} has {known.vocab_size(method)} ids, and "
            f"its tokenizer has {code.vocab_size}: vocab_size() of both must agree"
        )
    return code


def bytes_per_token(tokenizer: Tokenizer, corpus: Corpus, sample_bytes: int = 1 << 20) -> float:
    """Return raw bytes per id on the first training documents, separators counted as ids."""
    documents = [document.text for document in corpus.documents("train", sample_bytes)]
    n_ids = sum(len(ids) + 1 for ids, _ in tokenizer.encode_batch(documents))
    return sum(map(len, documents)) / n_ids
