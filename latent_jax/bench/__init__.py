"""Benchmarks of `launch/benchmark.py`: speed, compared with named peers in the same run."""
