"""A finished run applied to networks: predictions, embeddings, and doubts about both."""
