"""Encode a trained network by messages along its weights. The network becomes a graph with weights as edges.

:mod:`sneframe.nn.graph` defines the words: node, node set, slot, edge and vector.

**Example.** A network with two layers, two inputs, two hidden neurons and one output:

>>> import torch
>>> from sneframe.nn.graph.graph_builder import graph_of
>>> from sneframe.testing import mlp
>>> graph = graph_of(mlp(2, 2, 1))

Let the first layer have the weights W = [[1, −2], [3, 4]]. Its edges carry W / √2, because each target has
two sources, and also |W| / √2. The tensor contains W / √2 above |W| / √2:

>>> from sneframe_sne.message.rounds import EdgeWeights
>>> from sneframe.nn.graph.tensors import graph_tensors
>>> tensors = graph_tensors(graph, torch.device("cpu"), torch.float32)
>>> weights = EdgeWeights.of(tensors.edges[0], torch.tensor([[[1.0, -2.0], [3.0, 4.0]]]), None)
>>> print(weights.forth[0])
tensor([[ 0.7071, -1.4142],
        [ 2.1213,  2.8284],
        [ 0.7071,  1.4142],
        [ 2.1213,  2.8284]])

Let D = 2, and let the inputs send the codes (1, 0) and (1, 1), which are the rows of X. Each hidden neuron
receives its row of m = W X / √2 and its row of m' = |W| X / √2. The tensor contains m above m':

>>> print(weights.forth[0] @ torch.tensor([[1.0, 0.0], [1.0, 1.0]]))
tensor([[-0.7071, -1.4142],
        [ 4.9497,  2.8284],
        [ 2.1213,  1.4142],
        [ 4.9497,  2.8284]])

Each neuron then adds a learned map of m, m' and φ(m + b) to its code, where b comes from the bias and φ is
the activation. The same happens along the edges of the second layer. Then messages go back along the
transposed matrices. This is one round. After the last round, the codes of each node set are pooled to one
code. The node set of the input is left out, so this network has L = 2 codes: one for the hidden layer, which
stands for parameters 0 and 1, and one for the output, which stands for parameters 2 and 3.
"""
