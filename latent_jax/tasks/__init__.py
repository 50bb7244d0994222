"""What is trained: a model, its loss and its scores; one file per task."""
