"""What measured figures prove: intervals, budgets, trust in a run, and how far it is from what the timers predict.

Pure: no I/O and no clock. Durations are milliseconds in verdicts about measurements and seconds in predictions from
timers, as their sources give them; names end in `_ms` where they are milliseconds.
"""
