"""Config files, one experiment each, with source and commands; `common` has all defaults."""
