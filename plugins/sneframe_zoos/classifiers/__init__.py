"""The zoo builders of image classifiers: CNNs, MLPs and vision transformers."""
