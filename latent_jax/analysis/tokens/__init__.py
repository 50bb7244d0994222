"""The meaning of ids: the bytes that each covers, the text it decodes to alone, vocabularies."""
