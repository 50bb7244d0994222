"""Look inside codes: one verb for each analysis, any number of tokenizers and trained runs.

    python launch/analyze.py entropy --tokenizer Bytes --tokenizer 'EqualInfoAC[b=16,v=65k]' \\
        --text English=novels_en.jsonl.xz --text French=novels_fr.jsonl.xz --out figures
    python launch/analyze.py uniformity --tokenizer 'AC[v=256]' --tokenizer 'GZip[v=256]' \\
        --data 'text/*.jsonl.xz' --max_bytes 300000 --cut_bytes 2560

entropy asks for the n-grams of the ids: plug-in and Miller-Madow in the training split, smoothed
(Kneser-Ney) on held-out text, and beside them for a --workdir's own language model. uniformity sets
n-grams and tokens of the bits of a code beside random bits: KL from uniform.

    python launch/analyze.py tokens --tokenizer 'EqualInfoAC[b=16,v=256]' \\
        --workdir runs/latent_lm --data 'text/*.jsonl.xz' --max_bytes 200000 --cut_bytes 2560
    python launch/analyze.py stability --tokenizer 'BPE[v=4096]' --tokenizer 'AC[v=256]' \\
        --data 'text/*.jsonl.xz' --max_bytes 200000 --cut_bytes 2560 --pieces 'BPE[v=4096]'

tokens says what ids stand for: the bytes that each covers in held-out text, how sure they are, what
ids decode to alone and in runs, and the vocabulary of codes whose ids stand for one text each.
stability puts one sentence behind many words, changes single bytes, and compares token boundaries
with spaces and with the pieces of another tokenizer. What tokenizers learn, they learn from 90
percent of the documents; everything is measured on the others.

    python launch/analyze.py windows --workdir runs/m2 --data 'text/*.jsonl.xz'
    python launch/analyze.py latents --workdir runs/quickstart/latent --data 'text/*.jsonl.xz'
    python launch/analyze.py zipf --tokenizer 'BPE[v=4096]' --workdir runs/quickstart/latent ...

windows scores each token of an equal-information window. latents scores each byte of a group, and
codes that the language model drew. zipf counts symbols by rank, beside words.

Tokenizers are named as the literature names them; a --workdir is a run folder, whose latents are
looked at if it learned some, else its tokenizer. Every verb prints a table; --json writes the
unrounded numbers, and --out is a folder for pictures.
"""

from absl import flags

from latent_jax.analysis.stability import SENTENCE as ELEPHANTS
from latent_jax.command_line import run_verbs
from latent_jax.experiments.analyze.entropy import entropy_and_print
from latent_jax.experiments.analyze.latents import latents_and_print
from latent_jax.experiments.analyze.stability import stability_and_print
from latent_jax.experiments.analyze.tokens import tokens_and_print
from latent_jax.experiments.analyze.uniformity import uniformity_and_print
from latent_jax.experiments.analyze.windows import windows_and_print
from latent_jax.experiments.analyze.zipf import zipf_and_print

TOKENIZER = flags.DEFINE_multi_string("tokenizer", [], "Literature name. May be repeated.")
WORKDIR = flags.DEFINE_multi_string("workdir", [], "Run folder. May be repeated.")
DATA = flags.DEFINE_list("data", [], "Text: paths, globs or folders between commas.")
TEXT = flags.DEFINE_multi_string("text", [], "One of several texts, NAME=FILES. May be repeated.")
TEXT_FIELD = flags.DEFINE_string("text_field", "text", "Field of .jsonl lines that is the text.")
M1 = flags.DEFINE_string("m1", "", "Byte model of coders, a file; by default the shipped one.")
JSON = flags.DEFINE_string("json", None, "Also write the unrounded records to this file.")
OUT = flags.DEFINE_string("out", "", "Folder for pictures; empty makes none.")
TRAIN_BYTES = flags.DEFINE_integer(
    "train_bytes", 0, "Tokenizers and n-grams learn from so many bytes; 0 = all.", lower_bound=0
)
MAX_BYTES = flags.DEFINE_integer(
    "max_bytes", 0, "Look at so many held-out bytes; 0 = all.", lower_bound=0
)
CUT_BYTES = flags.DEFINE_integer(
    "cut_bytes",
    0,
    "Cut documents into texts of so many bytes: M1 codes many at once. 0 = none.",
    lower_bound=0,
)
SEED = flags.DEFINE_integer("seed", 0, "Of everything that is drawn by chance.", lower_bound=0)
SENTENCE = flags.DEFINE_string(
    "sentence", ELEPHANTS, "Decoded id by id (tokens), or put behind other words (stability)."
)
SAMPLES = flags.DEFINE_integer(
    "samples", 200, "Runs of ids of each length that are decoded alone.", lower_bound=1
)
PREFIXES = flags.DEFINE_integer("prefixes", 500, "Words put before the sentence.", lower_bound=2)
CHANGES = flags.DEFINE_integer(
    "changes", 200, "Bytes that are changed, one at a time.", lower_bound=1
)
PIECES = flags.DEFINE_string(
    "pieces", "", "Tokenizer whose pieces are compared with; empty = spaces alone."
)

N = flags.DEFINE_integer("n", 6, "The longest n-grams.", lower_bound=1)
SUMMARY = flags.DEFINE_string(
    "summary", None, "Also write the records of the second table to this file."
)


FILES = dict(files=DATA, text_field=TEXT_FIELD, cut_bytes=CUT_BYTES)
RESULTS = dict(json_path=JSON, out=OUT)
RUNS = dict(workdirs=WORKDIR, max_bytes=MAX_BYTES, **FILES, **RESULTS)
CODES = dict(methods=TOKENIZER, m1=M1, train_bytes=TRAIN_BYTES)
TEXTS = dict(workdirs=WORKDIR, texts=TEXT, validation_bytes=MAX_BYTES, **CODES, **FILES, **RESULTS)

CASES = {
    "entropy": (entropy_and_print, dict(**TEXTS, max_n=N, summary_path=SUMMARY)),
    "uniformity": (uniformity_and_print, TEXTS),
    "tokens": (
        tokens_and_print,
        dict(**CODES, **RUNS, seed=SEED, sentence=SENTENCE, n_samples=SAMPLES),
    ),
    "stability": (
        stability_and_print,
        dict(
            **CODES,
            **RUNS,
            seed=SEED,
            sentence=SENTENCE,
            n_prefixes=PREFIXES,
            n_changes=CHANGES,
            pieces=PIECES,
        ),
    ),
    "zipf": (zipf_and_print, dict(**CODES, **RUNS)),
    "windows": (windows_and_print, RUNS),
    "latents": (latents_and_print, dict(**RUNS, seed=SEED)),
}

if __name__ == "__main__":
    run_verbs(CASES)
