"""Scenarios: ordinary tests on a lab; see docs/scenarios.md."""
