"""The systems; independent of one another, each with the same inner shape."""
