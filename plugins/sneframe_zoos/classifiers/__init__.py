"""Zoos of image classifiers: draw the hyper-parameters of each run, train runs in stacks, write the zoo."""
