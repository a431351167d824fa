"""Known regressions of Cilium, each as a scenario that fails on the versions that have it; see docs/gate.md.

A version that lacks the API that a scenario is about skips it by name. What the newest version still gets wrong is
marked with `known_bad`, so that the default run stays green and says so as soon as it is mended.
"""
