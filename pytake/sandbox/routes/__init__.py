"""The sandbox's routes, by what they answer."""
