"""What the thoughts of a reasoner are, what they say, and whether anything reads them."""
