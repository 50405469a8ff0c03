"""The Cloud API: sending, and reading what its callback brings."""
