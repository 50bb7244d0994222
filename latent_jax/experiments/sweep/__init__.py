"""Sweeps, many runs at equal budgets: cells as data, a plan, a manifest on disk, two engines."""
