"""Whole networks: GPT, BERT, the autoencoder and the latent language model."""
