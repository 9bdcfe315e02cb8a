"""Encode a trained network by messages along its weights. The network becomes a graph with weights as edges.

Four words describe the graph. The classes of :mod:`sneframe_sne.message.graph` use them.

node
    One neuron of a neuron group, or one index of an axis that no group permutes, such as an input or an
    output. Each node has a code of D numbers. The nodes of one group, or of one such axis, are a ``NodeSet``.
slot
    One row or one column of a parameter that is read as a matrix. Edges end at rows, which are *targets*,
    and start at columns, which are *sources*. A slot usually holds one node. Several slots can hold the same
    node: each position of a convolution kernel is a slot, and holds the node of its channel. ``Slots`` are
    all slots at one end of a parameter's edges.
edge
    One weight W_ij, from source j to target i. ``Edges`` are all edges of one parameter.
vector
    A parameter with one weight for each target, such as a bias.

A parameter *leads to* the nodes that its targets hold. In the example, no parameter leads to the first node
set, because this set is the input.

**Example.** A network with two layers, two inputs, two hidden neurons and one output:

>>> import torch
>>> from sneframe.testing import mlp
>>> from sneframe_sne.message.graph_builder import graph_of
>>> architecture = mlp(2, 2, 1)
>>> [(number, parameter.name, parameter.shape) for number, parameter in enumerate(architecture.parameters)]
[(0, '0.weight', (2, 2)), (1, '0.bias', (2,)), (2, '1.weight', (1, 2)), (3, '1.bias', (1,))]

Its inputs, hidden neurons and output are one node set each. Hidden neurons may be permuted, so they have no
positions:

>>> graph = graph_of(architecture)
>>> for node_set in graph.node_sets:
...     print(node_set)
NodeSet(size=2, fixed=True, parameters=())
NodeSet(size=2, fixed=False, parameters=(0, 1))
NodeSet(size=1, fixed=True, parameters=(2, 3))

Each weight matrix becomes one ``Edges``, and the bias of the same layer becomes a vector on the same targets.
In this network each slot holds a different node:

>>> for edges in graph.edges:
...     (sources,), (targets,) = edges.sources.nodes, edges.targets.nodes
...     print(edges.parameter, edges.vectors, edges.activation)
...     print("  from set", sources.node_set, "nodes", sources.nodes, "in slots", sources.slots)
...     print("  to set  ", targets.node_set, "nodes", targets.nodes, "in slots", targets.slots)
0 (1,) relu
  from set 0 nodes [0 1] in slots [0 1]
  to set   1 nodes [0 1] in slots [0 1]
2 (3,) none
  from set 1 nodes [0 1] in slots [0 1]
  to set   2 nodes [0] in slots [0]

Let the first layer have the weights W = [[1, −2], [3, 4]]. Its edges carry W / √2, because each target has
two sources, and also |W| / √2. The tensor contains W / √2 above |W| / √2:

>>> from sneframe_sne.message.rounds import EdgeWeights
>>> from sneframe_sne.message.tensors import graph_tensors
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
