"""The order of the engines on a request, and what happens when one of them fails."""
