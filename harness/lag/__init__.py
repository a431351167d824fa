"""Periodic lag: the mechanisms that make it, a game's traffic through them, and the matrix that tells them apart."""
