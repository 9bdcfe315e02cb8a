"""Apply a finished run to networks: compute predictions and embeddings, and report doubts about both."""
