"""One run: zoo, model, training and scores. Read :mod:`sneframe.train.run` first."""
