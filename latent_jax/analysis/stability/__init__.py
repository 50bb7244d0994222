"""How much of a tokenization changes with the text, and where its tokens end."""
