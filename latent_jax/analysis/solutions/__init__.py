"""Solutions of trained reasoners, with as many thoughts as asked for."""
