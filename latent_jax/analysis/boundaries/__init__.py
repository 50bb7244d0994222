"""The observatory of models that cut their text into chunks by themselves."""
