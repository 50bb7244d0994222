"""Networks in integers, which give the same bits on every device: numbers, files, operations."""
