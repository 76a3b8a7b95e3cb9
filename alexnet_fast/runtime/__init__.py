"""What export and serving both stand on: manifests, metadata and the runtimes of exported files."""
