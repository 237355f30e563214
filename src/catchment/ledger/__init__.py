"""The ledger: pure. Values in, values out; no I/O, no clock, no randomness."""
