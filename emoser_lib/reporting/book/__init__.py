"""The book: its pages, where figures come from, the reference."""
