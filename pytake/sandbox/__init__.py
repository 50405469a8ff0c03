"""A stand-in for the Cloud API: for development, tests and demos."""
