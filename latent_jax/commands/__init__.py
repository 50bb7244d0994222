"""What commands do that stand on finished runs: analyses, exports, pages, texts."""
