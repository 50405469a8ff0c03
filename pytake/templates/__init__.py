"""Templates as Meta has them."""
