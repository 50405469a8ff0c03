"""Figures of Meta's and of our own: health, counts, advice."""
