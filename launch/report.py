"""Tables and pictures from run folders, and one page that shows them.

    python launch/report.py runs/quickstart
    python launch/report.py runs/quickstart --out page
    python launch/report.py runs/compressors --results configs/results/compressors.json
    python launch/report.py --readme README.md

The first prints the last validation record of every run below the folder and draws comparison.png
into it; of a sweep's folder it makes tables, pictures and verdicts. --out also writes index.html
there: one file that needs no network, with sortable tables, interactive figures, samples, and text
cut live by the study's codes. --results also keeps the records, unrounded; --readme writes every
marked table of a page anew from configs/results/.
"""

import shlex
import sys

from absl import flags

from latent_jax.command_line import run_command
from latent_jax.experiments.report_page import SENTENCE, write_report_page
from latent_jax.reports.command import report

RESULTS = flags.DEFINE_string("results", None, "Also keep the records in this JSON file.")
README = flags.DEFINE_string("readme", None, "Write the marked tables of this page anew.")
OUT = flags.DEFINE_string("out", None, "Also write the study as one page, index.html, here.")
ANALYSES = flags.DEFINE_list(
    "analyses", [], "Files of launch/analyze.py --json that the page draws, between commas."
)
TOKENIZER = flags.DEFINE_multi_string(
    "tokenizer", [], "Folder of a saved tokenizer that also cuts the page's sentence. Repeatable."
)
SENTENCE_FLAG = flags.DEFINE_string("sentence", SENTENCE, "What the page's tokenizers cut.")


def main(folders):
    """Report."""
    for flag in (ANALYSES, TOKENIZER, SENTENCE_FLAG):
        if flag.present and not OUT.value:
            raise ValueError(f"--{flag.name} is for the page: name its folder with --out")
    report(folders, results=RESULTS.value, readme=README.value)
    if OUT.value:
        write_report_page(
            folders,
            OUT.value,
            analyses=ANALYSES.value,
            extra=TOKENIZER.value,
            sentence=SENTENCE_FLAG.value,
            made_by=shlex.join(["python", "launch/report.py", *sys.argv[1:]]),
        )


if __name__ == "__main__":
    run_command(main, takes_arguments=True)
