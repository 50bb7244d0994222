"""What programs cost: compiled for a chip that is not here, or traced on one that is."""
