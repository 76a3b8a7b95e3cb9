"""Training a classifier on features of a fixed network."""
