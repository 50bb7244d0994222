"""A laboratory for what a language model should read and write instead of text."""
