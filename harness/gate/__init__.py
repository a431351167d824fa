"""The version gate: the same scenarios with Cilium A and with Cilium B, and a verdict that CI can act on."""
