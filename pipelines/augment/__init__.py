"""The random augmentations of training images; `AugmentSpec` in `pipelines.spec` puts them together."""
