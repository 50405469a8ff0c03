"""Phone numbers: state, rate, limits."""
