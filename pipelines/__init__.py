"""Input pipelines: one augmentation spec, the DALI graphs and the plain PyTorch loader built from it."""
