"""Sequences of vectors made shorter, and longer again."""
