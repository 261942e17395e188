"""Solve challenges as a browser does."""

from hashlib import sha256


def solve(challenge, bits):
    for number in range(1 << 24):
        if int.from_bytes(sha256(f"{challenge}:{number}".encode()).digest(), "big") >> (256 - bits) == 0:
            return number
    raise AssertionError("no solution")
