"""Training tasks: a model, its loss and its scores; one file per task."""
