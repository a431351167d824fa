"""The questions that a lag is asked, in the order of the decision procedure (facts/l2_and_lag.md, section 3.3).

An answer is yes, no, or not known, with the evidence for it: where a recording cannot show something, silence is not
"no".
"""

from __future__ import annotations

import enum
from dataclasses import dataclass


class Question(enum.Enum):
    """What is asked; the value is how the report puts it."""

    # 1. the server
    SERVER_STALLED = "did the game server itself stop"
    PATH_WORKS = "did other traffic to the same address get through meanwhile"
    # 2. the node
    NODE_LOST = "could the node itself not be reached"
    LINK_WENT = "did a link go down, or did the spanning tree change"
    # 3. the router's entry
    MOVED_AT_BEGIN = "did the router begin to send to another MAC when it began"
    MOVED_AT_END = "did the router begin to send to another MAC when it ended"
    THERE_AND_BACK = "did the router's entry go to another node and come back"
    EXPIRED = "did the router ask for the address without an answer"
    AT_REFRESH = "did it begin when the router's ARP entry was due to be refreshed"
    LEARNED_LATE = "did the router hear of the address's new host only when it asked"
    ONLY_DOWN = "did packets get to the server, and only its answers were missing"
    # 4. whose MAC, and who leads
    STRANGER = "does the MAC that it moved to belong to no node"
    ANNOUNCED_AT_BEGIN = "was the move at the beginning announced by gratuitous ARP"
    ANNOUNCED_AT_END = "was the move at the end announced by gratuitous ARP"
    TWO_ANSWER = "do two nodes answer for the address"
    BOTH_CLAIM = "did two nodes claim the address in turns"
    SPEAKER_LOST = "did MetalLB's members suspect one of them, or did a speaker restart"
    LEASE_CHANGED = "did Cilium's lease change hands"
    RETURNED = "was the path handed to a node that had just come back"
    # what hosts say
    STRANGERS = "did the server refuse players as unknown"
    HELD_BACK = "did what was missing come at once when it ended"
    REFUSED = "did a host say that there is no such server"
    CONFLICT = "did a host complain of somebody else with the address"
    NODE_ASKED = "did a node ask in vain for its gateway"


@dataclass(frozen=True)
class Answer:
    """The answer to a question.

    Attributes:
        value: Yes, no, or None: not known.
        evidence: What it was seen by; when it is not known, what would have shown it.
    """

    value: bool | None
    evidence: str


Answers = dict[Question, Answer]


def yes(evidence: str) -> Answer:
    """It was so."""
    return Answer(True, evidence)


def no(evidence: str) -> Answer:
    """It was not so, and would have been seen."""
    return Answer(False, evidence)


def unknown(evidence: str) -> Answer:
    """It would not have been seen."""
    return Answer(None, evidence)
