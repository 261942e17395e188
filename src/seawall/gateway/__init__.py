"""The HTTP data plane: bytes in, a decision, bytes out; callbacks on uvloop, no task per request."""
