"""Analyses of codes and runs: entropy, the meaning of ids, stability, and more."""
