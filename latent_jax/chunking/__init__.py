"""Modules that shorten sequences of vectors, and modules that restore their length."""
