"""Score a trained run on held-out text: every metric, exact sums over each document once. Or
measure what tokenizers make of a text, before any model is trained on it.

    python launch/evaluate.py --workdir runs/quickstart/latent
    python launch/evaluate.py --workdir runs/ssm4 --data 'text/*.jsonl.xz' --json scores.json
    python launch/evaluate.py --tokenizer 'EqualInfoAC[b=16,v=65k]' --tokenizer 'GZip[v=256]' \\
        --data 'text/*.jsonl.xz'

Without --data it reads the validation split of the corpus that the run was trained on
(--split=test for the other one).
"""

from absl import flags

from latent_jax.experiments.command_line import run_command
from latent_jax.experiments.evaluate import evaluate_and_print
from latent_jax.experiments.measure_tokenizers import measure_and_print

WORKDIR = flags.DEFINE_string("workdir", None, "Run folder to read.")
TOKENIZER = flags.DEFINE_multi_string(
    "tokenizer", [], "Literature name; measure it on --data instead of a run. May be repeated."
)
TRAIN_DATA = flags.DEFINE_list(
    "train_data", [], "What tokenizers that learn are trained on; by default --data."
)
M1 = flags.DEFINE_string("m1", "", "Byte model of coders, a file; by default the shipped one.")
DATA = flags.DEFINE_list("data", [], "Other text, read whole: paths, globs or folders.")
TEXT_FIELD = flags.DEFINE_string("text_field", "text", "Field of .jsonl lines that is the text.")
SPLIT = flags.DEFINE_enum(
    "split", "validation", ["train", "validation", "test"], "Part of the run's own corpus."
)
CHECKPOINT = flags.DEFINE_string("checkpoint", "best", "best, latest, or a step.")
MAX_BYTES = flags.DEFINE_integer("max_bytes", 0, "Score so many raw bytes; 0 = all.", lower_bound=0)
CUT_BYTES = flags.DEFINE_integer(
    "cut_bytes",
    0,
    "Cut documents into texts of so many bytes for --tokenizer: M1 codes many at once. 0 = none.",
    lower_bound=0,
)
BATCH_SIZE = flags.DEFINE_integer(
    "batch_size", 0, "Rows at a time; 0 = as in training.", lower_bound=0
)
JSON = flags.DEFINE_string("json", None, "Also write the unrounded record to this file.")


def main():
    """Evaluate."""
    if TOKENIZER.value:
        if WORKDIR.value or not DATA.value:
            raise ValueError("--tokenizer is measured on --data, and a --workdir is scored: one")
        measure_and_print(
            TOKENIZER.value,
            files=DATA.value,
            text_field=TEXT_FIELD.value,
            train_files=TRAIN_DATA.value,
            max_bytes=MAX_BYTES.value,
            cut_bytes=CUT_BYTES.value,
            m1=M1.value,
            json_path=JSON.value,
        )
        return
    if not WORKDIR.value:
        raise ValueError("say what to score: --workdir of a run, or --tokenizer and --data")
    evaluate_and_print(
        WORKDIR.value,
        split=SPLIT.value,
        files=tuple(DATA.value),
        text_field=TEXT_FIELD.value,
        checkpoint=CHECKPOINT.value,
        max_bytes=MAX_BYTES.value,
        batch_size=BATCH_SIZE.value,
        json_path=JSON.value,
    )


if __name__ == "__main__":
    run_command(main, may_be_remote=("workdir",))
