"""The kind backend: the same labs on a real cluster."""
