"""Stability of tokenizations: how much changes with the text, and where tokens end."""
