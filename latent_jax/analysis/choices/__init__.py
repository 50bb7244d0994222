"""Text given the codes that the language model finds likeliest."""
