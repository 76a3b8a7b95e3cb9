"""Several training processes: launching, process groups, and what they agree on."""
