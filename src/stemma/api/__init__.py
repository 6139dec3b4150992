"""The HTTP face: routes, dependencies, answers. The only package that knows FastAPI."""
