"""Commands that use finished runs and codes: analyses, exports, pages, texts."""
