"""Seawall inside an application: pure ASGI classes and client transports."""
