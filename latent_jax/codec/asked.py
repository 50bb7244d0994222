"""What a header must say before a machine works for it: its file may come from anybody.

Most codes are made, and their fingerprints compared, at once. Two kinds take a minute: a code that
a float byte model drives has a fingerprint only when the model is compiled, and a table of texts
only when M1 has listed them. So what follows from the name alone is compared first, and what is
then begun is said in one line.
"""

import sys

from tqdm import tqdm

from latent_jax.codec.header import Header
from latent_jax.exact.model_file import is_integer_file
from latent_jax.methods.artefacts import read_m1
from latent_jax.methods.family import MethodName
from latent_jax.methods.registry import family
from latent_jax.methods.tokenizers import vocab_size


def check_asked(header: Header, method: MethodName, m1: str = "") -> None:
    """Compare a header with what its method is known to be, and say what will take long.

    Args:
        header: of a compressed file.
        method: its method, parsed.
        m1: file of the byte model; "" = the one in the package.

    Raises:
        ValueError: no code of this method has such a header, or the byte model is of another kind.
    """
    known = family(method.family)
    is_driven = known.is_driven(method)
    builds = "" if header.model else known.builds(method, m1)
    highest = vocab_size(method) - 1
    # The separator, which no file holds, is the highest id of what is built, and of most others.
    widths = {(highest - 1).bit_length()} | (set() if builds else {highest.bit_length()})
    wrong = []
    if header.id_bits not in widths:
        wrong.append(f"it has ids of {min(widths)} bits, and the header says {header.id_bits}")
    if header.model and not is_driven:
        wrong.append("no byte model drives it, and the header names one")
    if is_driven and not header.model and not header.lanes:
        wrong.append("a float byte model that drives it has lanes, and the header states none")
    if not is_driven and header.lanes and header.version > 1:
        wrong.append(f"no byte model drives it, and the header says {header.lanes} lanes")
    if builds and header.method != str(method):
        wrong.append(f"it is called {method}")
    if wrong:
        raise ValueError(f"{'; '.join(wrong)}: the file is damaged, or not ours")
    if m1 and is_driven and is_integer_file(read_m1(m1)) != bool(header.model):
        kinds = ("in integers", "in floats")
        stated, given = kinds if header.model else kinds[::-1]
        raise ValueError(
            f"it was written with a byte model {stated}, and {m1} is one {given}: give that model "
            "with --m1"
        )
    if builds:
        tqdm.write(f"{method}: {builds}, to compare its fingerprint", file=sys.stderr)
