"""The seam: literature names built into tokenizers and models, and budgets turned into steps."""
