"""Look inside codes: one verb for each analysis, any number of tokenizers and trained runs.

    python launch/analyze.py entropy --tokenizer Bytes --tokenizer 'EqualInfoAC[b=16,v=65k]' \\
        --text English=novels_en.jsonl.xz --text French=novels_fr.jsonl.xz --out figures
    python launch/analyze.py uniformity --tokenizer 'AC[v=256]' --tokenizer 'GZip[v=256]' \\
        --data 'text/*.jsonl.xz' --validation_bytes 300000 --cut_bytes 2560

entropy     n-grams of the ids: plug-in and Miller-Madow in the training split, smoothed
            (Kneser-Ney) on the validation split; beside them a --workdir's own language model
uniformity  n-grams and tokens of the bits of a code: KL from uniform, beside random bits

Tokenizers are named as the literature names them; a --workdir is a run folder, whose latents are
looked at if it learned some, else its tokenizer. Every verb prints a table; --json writes the
unrounded numbers, and --out is a folder for pictures.
"""

from absl import flags

from latent_jax.experiments.analyze.entropy import entropy_and_print
from latent_jax.experiments.analyze.uniformity import uniformity_and_print
from latent_jax.experiments.command_line import run_command

TOKENIZER = flags.DEFINE_multi_string("tokenizer", [], "Literature name. May be repeated.")
WORKDIR = flags.DEFINE_multi_string("workdir", [], "Run folder. May be repeated.")
DATA = flags.DEFINE_list("data", [], "Text: paths, globs or folders between commas.")
TEXT = flags.DEFINE_multi_string(
    "text", [], "One of several texts, NAME=FILES, for entropy and uniformity. May be repeated."
)
TEXT_FIELD = flags.DEFINE_string("text_field", "text", "Field of .jsonl lines that is the text.")
M1 = flags.DEFINE_string("m1", "", "Byte model of coders, a file; by default the shipped one.")
JSON = flags.DEFINE_string("json", None, "Also write the unrounded records to this file.")
OUT = flags.DEFINE_string("out", "", "Folder for pictures; empty makes none.")

N = flags.DEFINE_integer("n", 6, "entropy: the longest n-grams.", lower_bound=1)
TRAIN_BYTES = flags.DEFINE_integer(
    "train_bytes",
    0,
    "Count n-grams, and train tokenizers that learn, on so many raw bytes of the training split; "
    "0 = all.",
    lower_bound=0,
)
VALIDATION_BYTES = flags.DEFINE_integer(
    "validation_bytes",
    0,
    "Score so many raw bytes of the validation split; 0 = all.",
    lower_bound=0,
)
CUT_BYTES = flags.DEFINE_integer(
    "cut_bytes",
    0,
    "Cut documents into texts of so many bytes: M1 codes many at once. 0 = none.",
    lower_bound=0,
)
SUMMARY = flags.DEFINE_string(
    "summary", None, "entropy: also write the records of the second table to this file."
)


def entropy():
    """n-gram entropies, and what trained models need."""
    entropy_and_print(
        TOKENIZER.value, WORKDIR.value, max_n=N.value, summary_path=SUMMARY.value, **_texts()
    )


def uniformity():
    """Bits against random bits."""
    uniformity_and_print(TOKENIZER.value, WORKDIR.value, **_texts())


def _texts():
    return dict(
        files=DATA.value,
        texts=TEXT.value,
        text_field=TEXT_FIELD.value,
        train_bytes=TRAIN_BYTES.value,
        validation_bytes=VALIDATION_BYTES.value,
        cut_bytes=CUT_BYTES.value,
        m1=M1.value,
        json_path=JSON.value,
        out=OUT.value,
    )


VERBS = {"entropy": entropy, "uniformity": uniformity}


def main(words):
    """Run one analysis."""
    if len(words) != 1 or words[0] not in VERBS:
        raise ValueError(f"write one of {', '.join(VERBS)}; got {' '.join(words) or 'nothing'}")
    VERBS[words[0]]()


if __name__ == "__main__":
    run_command(main, takes_arguments=True)
