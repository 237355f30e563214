"""Where accounts, keys and the journal are kept: one seam, several engines, one conformance suite."""
