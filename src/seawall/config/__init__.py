"""seawall.toml, environment and command line become one frozen, validated tree of settings."""
