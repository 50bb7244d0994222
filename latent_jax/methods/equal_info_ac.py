"""`EqualInfoAC[b=16,v=65k]`: text cut into windows of equal information."""

from collections.abc import Mapping
from typing import Any

from latent_jax import tokenizers
from latent_jax.bars import Bar
from latent_jax.methods.artefacts import (
    COMPILED_FOLDER,
    FLOAT_M1,
    FOLDER,
    MAX_CONTEXT,
    MIN_CONTEXT,
    load_m1,
    m1_digest,
)
from latent_jax.methods.family import MethodName, Option, Sources
from latent_jax.methods.registry import register
from latent_jax.methods.text_code import TextCode
from latent_jax.ranges import at_least
from latent_jax.tokenizers.bits import check_token_bits
from latent_jax.tokenizers.counts import PRECISIONS
from latent_jax.tokenizers.equal_info import (
    MAX_TABLE_BITS,
    MAX_WINDOW_BITS,
    MIN_WINDOW_BITS,
    RESETS,
    RULES,
    check_windows,
    usual_rule,
)
from latent_jax.tokenizers.likeliest import likeliest_texts
from latent_jax.tokenizers.saved_form import read_metadata

WINDOW_RULES = ("likeliest", *RULES)


@register
class EqualInfoAC(TextCode):
    """Arithmetic coding in windows of W bits; after each one, M1 and the coder begin anew.

    Where a window is one token, `rule=likeliest` lists the text of every id. This code is compiled
    into a table, and M1 does not run while text is coded.
    """

    name = "EqualInfoAC"
    rank, colour = 5, 0
    summary = "windows of equal information, driven by M1 (Lester et al. 2024, section 3.3)"
    options = {
        "b": Option("bits of a window", numbers=at_least(MIN_WINDOW_BITS, MAX_WINDOW_BITS)),
        "v": Option("ids besides the separator: tokens of log2(v) bits"),
        "rule": Option("which texts windows stand for", WINDOW_RULES),
        "reset": Option("after which windows M1 is reset", tuple(RESETS), "every"),
        "p": Option("bits of the integer counts", default=14, numbers=PRECISIONS),
    }
    example = "EqualInfoAC[b=16,v=65k]"

    def defaults(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """Return the defaults; that of the rule depends on b, v and reset."""
        usual = super().defaults(options)
        if "b" in options and "v" in options:
            reset = options.get("reset", usual["reset"])
            usual["rule"] = usual_rule(options["b"], options["v"], reset)
        return usual

    def check(self, method: MethodName) -> None:
        """Refuse windows that the rule cannot have."""
        b, v, rule, reset = (method[key] for key in ("b", "v", "rule", "reset"))
        if rule != "likeliest":
            check_windows(str(method), b, check_token_bits(v), rule, reset, method["p"])
        elif usual_rule(b, v, reset) != "likeliest":
            raise ValueError(
                f"{method}: rule=likeliest lists the text of every id, so a window must be one "
                f"token of at most {MAX_TABLE_BITS} bits, and reset=every: give rule=exact"
            )

    def is_driven(self, method: MethodName) -> bool:
        """Return whether M1 runs for every byte: always, except for a compiled code."""
        return method["rule"] != "likeliest"

    def builds(self, method: MethodName, m1: str = "") -> str:
        """Return what a float M1 takes, or a table that is not the shipped one; see `Family`."""
        if self.is_driven(method):
            return FLOAT_M1
        shipped = FOLDER / COMPILED_FOLDER
        if not m1 and shipped.exists() and read_metadata(shipped)["name"] == str(method):
            return ""
        return f"M1 lists its {1 << method['b']:,} texts, which takes minutes"

    def vocab_size(self, method: MethodName) -> int:
        """Return v and the separator."""
        return method["v"] + 1

    def make_code(self, method: MethodName, sources: Sources) -> tokenizers.Tokenizer:
        """Return the coder, or the compiled code, which the corpus folder keeps; see `Family`."""
        if self.is_driven(method):
            return step_by_step(method, sources.m1, sources.lanes)
        shipped = FOLDER / COMPILED_FOLDER
        if not sources.m1 and shipped.exists():
            code = tokenizers.load(shipped)
            if code.name == str(method):
                return code
        if sources.corpus is None:
            return compiled(method, sources.m1)
        options = "-".join(str(value) for value in method.options.values())
        name = f"equalinfoac-{options}-{m1_digest(sources.m1)[:16]}"
        folder = sources.corpus.folder / "tokenizers" / name
        if folder.exists():
            return tokenizers.load(folder)
        code = compiled(method, sources.m1)
        code.save(folder)
        return code


def compiled(method: MethodName, m1: str = "") -> tokenizers.CompiledCode:
    """Compile a code whose windows are one token; it takes a minute on a CPU.

    Args:
        method: parsed, of this family.
        m1: file of the byte model; "" = the one in the package.

    Raises:
        ValueError: the method cannot be a table, or M1 cannot be read.
    """
    if method.family != EqualInfoAC.name:
        raise ValueError(f"{method} is no table of texts: only EqualInfoAC is compiled")
    if method["rule"] != "likeliest":
        return tokenizers.CompiledCode.compile(step_by_step(method, m1))
    model, n_texts = load_m1(m1, MIN_CONTEXT), 1 << method["b"]
    with Bar(str(method), n_texts, "texts") as bar:
        batch = max(1024, model.lanes * model.workers)
        texts = likeliest_texts(model, n_texts, method["p"], batch, on_read=bar.update)
    return tokenizers.CompiledCode.of_texts(str(method), texts)


def step_by_step(method: MethodName, m1: str = "", lanes: int = 0) -> tokenizers.EqualInfoAC:
    """Return the coder that runs M1 for every byte, even if its code has been compiled.

    Args:
        method: parsed, of this family.
        m1: file of the byte model; "" = the one in the package.
        lanes: see `load_m1`.

    Raises:
        ValueError: options do not go together, or M1 cannot be read.
    """
    window_bits, reset = method["b"], method["reset"]
    # M1 attends to as many bytes as there are bits between two resets: few windows hold more bytes.
    bits = window_bits * RESETS[reset] or MAX_CONTEXT
    model = load_m1(m1, min(max(bits, MIN_CONTEXT), MAX_CONTEXT), lanes)
    return tokenizers.EqualInfoAC(
        model, window_bits, method["v"], rule=method["rule"], reset=reset, precision=method["p"]
    )
