"""The graph of a network: neurons are nodes, and weights are edges. Several methods compute on it.

Four words describe the graph. The classes of :mod:`~sneframe.nn.graph.graph` use them.

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

>>> from sneframe.testing import mlp
>>> from sneframe.nn.graph.graph_builder import graph_of
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
"""
