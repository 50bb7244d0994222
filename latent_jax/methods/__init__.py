"""Methods: literature names made into tokenizers, tasks and writers; budgets made into steps."""
