"""ASGI middleware that runs before every route."""
