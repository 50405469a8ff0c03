"""Meta's Cloud API: client, error codes, limits, management calls."""
