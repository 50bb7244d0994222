"""Look inside codes: one verb for each analysis, any number of tokenizers and trained runs.

    python launch/analyze.py entropy --tokenizer Bytes --tokenizer 'EqualInfoAC[b=16,v=65k]' \\
        --data 'text/*.jsonl.xz'

Tokenizers are named as the literature names them; a --workdir is a run folder, whose latents are
looked at if it learned some, else its tokenizer. Every verb prints a table; --json writes the
unrounded numbers, and --out is a folder for pictures.
"""

from absl import flags

from latent_jax.experiments.command_line import run_command

TOKENIZER = flags.DEFINE_multi_string("tokenizer", [], "Literature name. May be repeated.")
WORKDIR = flags.DEFINE_multi_string("workdir", [], "Run folder. May be repeated.")
DATA = flags.DEFINE_list("data", [], "Text: paths, globs or folders between commas.")
TEXT_FIELD = flags.DEFINE_string("text_field", "text", "Field of .jsonl lines that is the text.")
M1 = flags.DEFINE_string("m1", "", "Byte model of coders, a file; by default the shipped one.")
JSON = flags.DEFINE_string("json", None, "Also write the unrounded records to this file.")
OUT = flags.DEFINE_string("out", "", "Folder for pictures; empty makes none.")

VERBS = {}


def main(words):
    """Run one analysis."""
    if len(words) != 1 or words[0] not in VERBS:
        raise ValueError(f"write one of {', '.join(VERBS)}; got {' '.join(words) or 'nothing'}")
    VERBS[words[0]]()


if __name__ == "__main__":
    run_command(main, takes_arguments=True)
