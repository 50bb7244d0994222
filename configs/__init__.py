"""One experiment per file, with its source and commands; `common` has every default."""
