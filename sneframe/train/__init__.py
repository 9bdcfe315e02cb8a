"""Load a zoo, train a model on it, and score the model. Read :mod:`sneframe.train.run` first."""
