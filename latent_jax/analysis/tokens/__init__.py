"""What ids stand for: the bytes that each covers, what they decode to alone, vocabularies."""
