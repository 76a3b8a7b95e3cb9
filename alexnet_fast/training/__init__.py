"""Training: configuration, loop, schedule, checkpoints and logs."""
