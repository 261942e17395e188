"""The detectors: each knows the grammar of one kind of attack and judges one decoded value at a time."""
