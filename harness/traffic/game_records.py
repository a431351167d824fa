"""What a game adds to a prober's records (lablet's internal/prober/game.go); times are nanoseconds."""

from __future__ import annotations

from typing import NamedTuple


class Update(NamedTuple):
    """A game server's update came; it is sent at the server's own ticks, whatever has come in."""

    at: int
    flow: int
    tick: int  # the server's number of it: one that is missing was lost on the way
    replied: int  # the server's stamp of sending
    acknowledged: int  # how many inputs were new to it


class Refusal(NamedTuple):
    """A game server says that it takes a player's inputs for a stranger's."""

    at: int
    flow: int
    refused: int  # so many so far
    stranger: str  # where the last one came from


class Greeting(NamedTuple):
    """A player greets a game server, for the first time or anew."""

    at: int
    flow: int
    again: int


class GivenUp(NamedTuple):
    """A player has given its connection up."""

    at: int
    flow: int
