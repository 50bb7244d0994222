"""Look inside codes: one verb for each analysis, any number of tokenizers and trained runs.

    python launch/analyze.py entropy --tokenizer Bytes --tokenizer 'EqualInfoAC[b=16,v=65k]' \\
        --data 'text/*.jsonl.xz'

    python launch/analyze.py windows --workdir runs/sweeps/laptop/cells/EqualInfoAC_b=16,v=256_...
    python launch/analyze.py latents --workdir runs/quickstart/latent --data 'text/*.jsonl.xz'
    python launch/analyze.py zipf --tokenizer 'BPE[v=4096]' --workdir runs/quickstart/latent ...

`windows` scores each token of an equal-information window, `latents` each byte of a group, and
codes that the language model drew; `zipf` counts symbols by rank. Tokenizers are named as the
literature names them; a --workdir is a run folder, whose latents are looked at if it learned some,
else its tokenizer. Every verb prints a table; --json writes the unrounded numbers, and --out is a
folder for pictures.
"""

from absl import flags

from latent_jax.experiments.analyze.latents import latents_and_print
from latent_jax.experiments.analyze.opening import held_out, open_codes, open_text
from latent_jax.experiments.analyze.windows import windows_and_print
from latent_jax.experiments.analyze.zipf import zipf_and_print
from latent_jax.experiments.command_line import run_command

TOKENIZER = flags.DEFINE_multi_string("tokenizer", [], "Literature name. May be repeated.")
WORKDIR = flags.DEFINE_multi_string("workdir", [], "Run folder. May be repeated.")
DATA = flags.DEFINE_list("data", [], "Text: paths, globs or folders between commas.")
TEXT_FIELD = flags.DEFINE_string("text_field", "text", "Field of .jsonl lines that is the text.")
M1 = flags.DEFINE_string("m1", "", "Byte model of coders, a file; by default the shipped one.")
JSON = flags.DEFINE_string("json", None, "Also write the unrounded records to this file.")
OUT = flags.DEFINE_string("out", "", "Folder for pictures; empty makes none.")
MAX_BYTES = flags.DEFINE_integer(
    "max_bytes", 1_000_000, "Raw bytes of text that are looked at; 0 = all.", lower_bound=0
)
SEED = flags.DEFINE_integer("seed", 0, "Of what is drawn.")


def _windows():
    words = dict(text_field=TEXT_FIELD.value, max_bytes=MAX_BYTES.value)
    windows_and_print(WORKDIR.value, DATA.value, json_path=JSON.value, out=OUT.value, **words)


def _latents():
    words = dict(text_field=TEXT_FIELD.value, max_bytes=MAX_BYTES.value, seed=SEED.value)
    latents_and_print(WORKDIR.value, DATA.value, json_path=JSON.value, out=OUT.value, **words)


def _zipf():
    texts = held_out(DATA.value, TEXT_FIELD.value, MAX_BYTES.value)
    corpus = open_text(DATA.value, TEXT_FIELD.value)
    codes = open_codes(TOKENIZER.value, WORKDIR.value, corpus=corpus, m1=M1.value)
    zipf_and_print(codes, texts, JSON.value, OUT.value)


VERBS = {"windows": _windows, "latents": _latents, "zipf": _zipf}


def main(words):
    """Run one analysis."""
    if len(words) != 1 or words[0] not in VERBS:
        raise ValueError(f"write one of {', '.join(VERBS)}; got {' '.join(words) or 'nothing'}")
    VERBS[words[0]]()


if __name__ == "__main__":
    run_command(main, takes_arguments=True)
