"""A finished run, asked about networks."""
