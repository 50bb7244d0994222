"""What a code is like: its entropy, what its ids stand for, how stable it is."""
