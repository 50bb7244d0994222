"""From a literature name to a tokenizer, which is trained or compiled once and kept."""

from latent_jax.data import Corpus
from latent_jax.methods.family import MethodName, Sources
from latent_jax.methods.registry import family
from latent_jax.registration import file_of, shown
from latent_jax.tokenizers import Tokenizer
from latent_jax.tokenizers.promises import check_encoded, check_numbers, check_sample


def make_tokenizer(method: MethodName, corpus: Corpus | None = None, **sources) -> Tokenizer:
    """Return the tokenizer of a method; latent methods read bytes.

    Args:
        method: parsed.
        corpus: text to learn from; its folder keeps what was learned.
        **sources: the other fields of `Sources`.

    Raises:
        ValueError: the text is too small for the vocabulary, options do not go together, files are
            given that the method cannot use, one cannot be read, or the tokenizer breaks a promise
            of `latent_jax.tokenizers.base`.
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
    of = f"the family {known.name} in {file_of(type(known))}"
    if not isinstance(code, Tokenizer):
        raise ValueError(
            f"{of}: make_code must return a Tokenizer of latent_jax/tokenizers/base.py; got "
            f"{shown(code)} for {method}"
        )
    if Tokenizer.kinds.get(getattr(code, "kind", "")) is not type(code):
        raise ValueError(
            f"{of}: its tokenizer {type(code).__name__} states no kind of its own, by which a "
            "saved one is read again: give the class a kind"
        )
    check_numbers(code, of)
    if code.vocab_size != vocab_size(method):
        raise ValueError(
            f"the family {known.name} says that {method} has {vocab_size(method)} ids, and "
            f"its tokenizer has {code.vocab_size}: vocab_size() of both must agree"
        )
    if not known.is_driven(method):  # M1 would run; its ids are checked when there is text
        check_sample(code)
    return code


def vocab_size(method: MethodName) -> int:
    """Return how many ids the tokenizer of a method has, without making it.

    Raises:
        ValueError: its family gives no such number.
    """
    known = family(method.family)
    size = known.vocab_size(method)
    if type(size) is not int or size < 2:
        raise ValueError(
            f"the family {known.name} in {file_of(type(known))}: vocab_size must return how many "
            f"ids {method} has, the separator included; got {shown(size)}"
        )
    return size


def bytes_per_token(tokenizer: Tokenizer, corpus: Corpus, sample_bytes: int = 1 << 20) -> float:
    """Return raw bytes per id on the first training documents, separators counted as ids."""
    documents = [document.text for document in corpus.documents("train", sample_bytes)]
    encoded = tokenizer.encode_batch(documents)
    for text, (ids, byte_lengths) in zip(documents, encoded, strict=True):
        check_encoded(tokenizer, text, ids, byte_lengths)
    n_ids = sum(len(ids) + 1 for ids, _ in encoded)
    return sum(map(len, documents)) / n_ids
