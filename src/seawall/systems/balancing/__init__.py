"""Load balancing: pools, strategies, health, ejection, the registry of instances."""
