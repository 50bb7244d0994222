"""Speed, beside named peers in one run: what `launch/benchmark.py` measures."""
