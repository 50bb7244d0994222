"""Many runs at equal budgets: cells as data, their plan, a manifest on disk, and two engines."""
