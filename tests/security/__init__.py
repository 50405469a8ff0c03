"""Attacks: each test is one that once succeeded."""
