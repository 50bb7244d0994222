"""Costs of programs: compiled for a chip that this machine lacks, or traced on one that it has."""
