"""The control plane: runs the controllers, publishes snapshots, collects reports, and keeps the processes alive."""
