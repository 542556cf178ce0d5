"""The ledger: claims of the papers, what answers them, and the verdicts."""
