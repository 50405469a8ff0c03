"""Insights from Meta and from our own data: health, counts, advice."""
