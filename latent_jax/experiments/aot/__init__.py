"""What `launch/compile.py` does: programs lowered, compiled and costed without a chip."""
