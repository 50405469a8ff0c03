"""The ``pytake`` command, a module for each group of commands."""
