"""Attacks: each test is one that worked once."""
