"""Compression of files by tokenizers, and corpora encoded into rows of ids."""
