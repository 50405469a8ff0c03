"""The ``pytake`` command, one module per group of commands."""
