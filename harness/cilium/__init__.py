"""Cilium as its users meet it: versions, what each of them serves, and BGP peerings in every generation of its API."""
