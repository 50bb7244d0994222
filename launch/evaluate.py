"""Score a trained run on held-out text, or measure tokenizers on text before any model is trained.

    python launch/evaluate.py --workdir runs/quickstart/latent
    python launch/evaluate.py --workdir runs/ssm4 --data 'text/*.jsonl.xz' --json scores.json
    python launch/evaluate.py --tokenizer 'EqualInfoAC[b=16,v=65k]' --tokenizer 'GZip[v=256]' \\
        --data 'text/*.jsonl.xz'
    python launch/evaluate.py --tokenizer 'AC[v=256]' --tokenizer 'AC[v=65k]' \\
        --data 'text/*.jsonl.xz' --example_bytes 10240 --counts runs/counts
    python launch/evaluate.py --pretrained SmolLM2-135M-Instruct.Q4_1.gguf --data 'text/*.jsonl.xz'
    python launch/evaluate.py --pretrained SmolLM2-135M-Instruct.Q4_1.gguf --chat \\
        --data gsm8k_test.jsonl.xz --max_answers 50

A run is scored by every metric, summed exactly, with each document counted once. Without --data it
reads the validation split of the corpus that the run was trained on (or --split=test). The
perplexity is per token and in base e, so it can be compared between runs of one tokenizer only. The
right_share of a reasoner compares last lines token by token; launch/analyze.py solutions compares
the numbers in them.

Tokenizers get the bits per byte of a uniform and of a unigram model of their ids, the separator
left out. A unigram needs text: 9 kB for 256 ids, 2.4 MB for 65,536. Where there is less, "-" stands
in its place. --counts counts ids only, decodes nothing, stops where M1 has read enough, and goes on
where it was stopped.

--pretrained is a published model, a .gguf or a folder of Hugging Face, scored on --data in rows of
--row_length. With --chat the lines of --data are problems with a question and an answer, as in
GSM8K: answers are scored, each given its question in the model's chat template, without the notes
<<...>> for a calculator.
"""

from absl import flags

from latent_jax import interrupts  # noqa: F401  Ctrl-C is one word from here on
from latent_jax.codec.measure import MeasureOptions, measure_and_print
from latent_jax.codec.unigram import count_and_print
from latent_jax.command_line import run_command
from latent_jax.command_verbs import name_cases, run_case
from latent_jax.experiments.evaluate import evaluate_and_print
from latent_jax.experiments.pretrained import evaluate_pretrained_and_print

WORKDIR = flags.DEFINE_string("workdir", None, "Run folder to read.")
PRETRAINED = flags.DEFINE_string(
    "pretrained", None, "Published model: a .gguf or a folder of Hugging Face."
)
TOKENIZER = flags.DEFINE_multi_string(
    "tokenizer", [], "Literature name of a tokenizer to measure on --data. May be repeated."
)
TRAIN_DATA = flags.DEFINE_list(
    "train_data", [], "Text that learned tokenizers are trained on; by default --data."
)
M1 = flags.DEFINE_string("m1", "", "File of the byte model of coders; by default the shipped one.")
DATA = flags.DEFINE_list("data", [], "Text, read whole: paths, globs or folders.")
TEXT_FIELD = flags.DEFINE_string("text_field", "text", "Field of .jsonl lines that is the text.")
SPLIT = flags.DEFINE_enum(
    "split", "validation", ["train", "validation", "test"], "Part of the run's own corpus."
)
CHECKPOINT = flags.DEFINE_string("checkpoint", "best", "best, latest, or a step.")
MAX_BYTES = flags.DEFINE_integer(
    "max_bytes", 0, "Raw bytes to score, about; 0 = all.", lower_bound=0
)
CUT_BYTES = flags.DEFINE_integer(
    "cut_bytes",
    0,
    "Cut documents into texts of so many bytes: M1 codes many at once. 0 = none.",
    lower_bound=0,
)
EXAMPLE_BYTES = flags.DEFINE_integer(
    "example_bytes",
    0,
    "Join documents, 128 at a time, and cut them into texts of so many bytes (Lester et al.: "
    "10240). 0 = do not join.",
    lower_bound=0,
)
TRAIN_BYTES = flags.DEFINE_integer(
    "train_bytes", 0, "Raw bytes that learned tokenizers are trained on; 0 = all.", lower_bound=0
)
COUNTS = flags.DEFINE_string(
    "counts", None, "Folder that keeps counts of ids: uniform and unigram models alone, resumable."
)
BATCH_SIZE = flags.DEFINE_integer(
    "batch_size", 0, "Rows at a time; 0 = as in training.", lower_bound=0
)
ROW_LENGTH = flags.DEFINE_integer("row_length", 512, "Ids of a row.", lower_bound=2)
CHAT = flags.DEFINE_bool("chat", False, "Score answers to questions, in the model's chat template.")
MAX_ANSWERS = flags.DEFINE_integer("max_answers", 0, "Answers to score; 0 = all.", lower_bound=0)
JSON = flags.DEFINE_string("json", None, "Also write the unrounded record to this file.")


def main():
    """Evaluate."""
    if TOKENIZER.value and (WORKDIR.value or not DATA.value):
        raise ValueError("give either --workdir of a run, or --tokenizer and --data")
    if PRETRAINED.value and (WORKDIR.value or TOKENIZER.value):
        raise ValueError("--pretrained is scored by itself: leave --workdir and --tokenizer out")
    if CHAT.value and not PRETRAINED.value:
        raise ValueError("--chat is for --pretrained: name a published model that chats")
    if not (TOKENIZER.value or WORKDIR.value or PRETRAINED.value):
        raise ValueError(
            "say what to score: --workdir of a run, --pretrained and --data, or --tokenizer and "
            "--data"
        )
    run_case("", CASES)


def measure(**words):
    """Measure tokenizers."""
    measure_and_print(MeasureOptions(**words))


def count(counts, **words):
    """Count the ids of tokenizers."""
    count_and_print(MeasureOptions(**words), counts)


def evaluate_published(path, **words):
    """Score a published model; the defaults of config keys are those of configs/common.py."""
    from configs import common

    evaluate_pretrained_and_print(path, common.default(), **words)


RUN = dict(
    workdir=WORKDIR,
    checkpoint=CHECKPOINT,
    max_bytes=MAX_BYTES,
    batch_size=BATCH_SIZE,
    json_path=JSON,
)
TEXT = dict(files=DATA, text_field=TEXT_FIELD)
CODES = dict(
    names=TOKENIZER,
    **TEXT,
    train_files=TRAIN_DATA,
    train_bytes=TRAIN_BYTES,
    max_bytes=MAX_BYTES,
    cut_bytes=CUT_BYTES,
    example_bytes=EXAMPLE_BYTES,
    m1=M1,
    json_path=JSON,
)

PUBLISHED = dict(
    path=PRETRAINED,
    files=DATA,
    batch_size=BATCH_SIZE,
    row_length=ROW_LENGTH,
    json_path=JSON,
)

CASES = {
    "--workdir": (evaluate_and_print, dict(**RUN, split=SPLIT)),
    "--workdir --data": (evaluate_and_print, dict(**RUN, **TEXT)),
    "--pretrained": (
        evaluate_published,
        dict(**PUBLISHED, text_field=TEXT_FIELD, max_bytes=MAX_BYTES),
    ),
    "--pretrained --chat": (
        evaluate_published,
        dict(**PUBLISHED, chat=CHAT, max_answers=MAX_ANSWERS),
    ),
    "--tokenizer": (measure, CODES),
    "--tokenizer --counts": (count, dict(**CODES, counts=COUNTS)),
}

if __name__ == "__main__":
    name_cases(CASES)
    run_command(main, may_be_remote=("workdir",))
