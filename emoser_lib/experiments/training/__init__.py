"""Training on folds of a corpus: each result is a cell, kept on disk."""
