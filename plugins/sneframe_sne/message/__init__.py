"""Messages along the weights: a trained network becomes a graph, and its weights become the edges.

Four words describe the graph; each is a class of :mod:`sneframe_sne.message.graph`, or a value in one.

node
    One neuron of a neuron group, or one index of an axis that no group permutes, such as an input or an
    output. Each node has a code of D numbers. The nodes of one group, or of one such axis, are a ``NodeSet``.
slot
    One row or one column of a parameter that is read as a matrix. A slot is where edges end (a *target*, a
    row) or start (a *source*, a column), and it holds a node. Several slots can hold the same node: each
    position of a convolution kernel is a slot of the same channel. ``Slots`` are all slots at one end of a
    parameter's edges.
edge
    One weight W_ij, from source j to target i. ``Edges`` are all edges of one parameter.
vector
    A parameter with one weight for each target, such as a bias.

A parameter *leads to* the nodes that its targets hold. The first node set below has no such parameter: it is
the input.

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

Each weight matrix is one ``Edges``, and the bias is a vector on its targets. Here each slot holds a node of
its own:

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

Let the first layer have the weights W = [[1, −2], [3, 4]]. Its edges carry W / √2 (two sources), and |W| / √2
below:

>>> from sneframe_sne.message.rounds import EdgeWeights
>>> from sneframe_sne.message.tensors import graph_tensors
>>> tensors = graph_tensors(graph, torch.device("cpu"), torch.float32)
>>> weights = EdgeWeights.of(tensors.edges[0], torch.tensor([[[1.0, -2.0], [3.0, 4.0]]]), None)
>>> print(weights.forth[0])
tensor([[ 0.7071, -1.4142],
        [ 2.1213,  2.8284],
        [ 0.7071,  1.4142],
        [ 2.1213,  2.8284]])

With D = 2, let the codes (1, 0) and (1, 1) leave the two inputs. Then the hidden neurons receive m = W X /
√2, one row for each, and below it m' = |W| X / √2:

>>> print(weights.forth[0] @ torch.tensor([[1.0, 0.0], [1.0, 1.0]]))
tensor([[-0.7071, -1.4142],
        [ 4.9497,  2.8284],
        [ 2.1213,  1.4142],
        [ 4.9497,  2.8284]])

Each neuron then adds a learned map of m, m' and φ(m + b) to its code, where b comes from the bias and φ is
the activation. The second layer does the same with its edges, and then messages go back along the transposed
matrices. This is one round. After the last round, the codes of each node set are pooled to one code. The
input's set is left out, so this network has L = 2 codes: one for the hidden layer, which stands for
parameters 0 and 1, and one for the output, which stands for parameters 2 and 3.
"""
