"""The edges: third-party protocols and clients that Seawall speaks, each optional and imported where it is used."""
