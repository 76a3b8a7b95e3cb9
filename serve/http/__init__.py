"""The HTTP server: routes, bodies and the wire."""
