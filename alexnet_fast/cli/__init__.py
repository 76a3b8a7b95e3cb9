"""The alexnet-fast command line."""
