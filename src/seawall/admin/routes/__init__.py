"""The admin API's own routes; each system brings its own in `systems/<name>/routes.py`."""
