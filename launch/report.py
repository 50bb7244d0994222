"""Tables and pictures from run folders.

    python launch/report.py runs/quickstart
    python launch/report.py runs/compressors --results configs/results/compressors.json
    python launch/report.py --readme README.md

The first prints the last validation record of every run below the folder and draws comparison.png
into it; --results also keeps the records, unrounded; --readme writes every marked table of a page
anew from configs/results/.
"""

from absl import flags

from latent_jax.experiments.command_line import run_command
from latent_jax.reports.command import report

RESULTS = flags.DEFINE_string("results", None, "Also keep the records in this JSON file.")
README = flags.DEFINE_string("readme", None, "Write the marked tables of this page anew.")


def main(folders):
    """Report."""
    report(folders, results=RESULTS.value, readme=README.value)


if __name__ == "__main__":
    run_command(main, takes_arguments=True)
