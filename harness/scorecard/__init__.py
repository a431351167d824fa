"""The scorecard: one event at a time happens to every way of announcing an address at once, on one clock."""
