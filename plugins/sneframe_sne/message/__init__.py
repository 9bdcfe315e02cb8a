"""Messages through the weights: neurons as nodes of a graph, every weight an edge that carries a code."""
