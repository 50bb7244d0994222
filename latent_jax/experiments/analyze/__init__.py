"""What `launch/analyze.py` does: texts and codes opened, an analysis run, its table printed."""
