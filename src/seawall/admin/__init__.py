"""The admin API: authentication, audit trail, health, metrics, and each system's routes, on its own port."""
