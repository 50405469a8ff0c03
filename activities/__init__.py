"""Every side effect of the workflows, grouped by what it talks to."""
