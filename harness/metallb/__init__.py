"""MetalLB in a lab: which version runs, its kinds, what it should announce, and who leads."""
