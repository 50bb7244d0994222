"""Configurations made into runs: trained, evaluated, compared."""
