"""How long others are waited for."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """Seconds. Nobody configures them: they are values so that what waits for somebody who hangs can be tried quickly.

    drain     for what is under way at SIGTERM; Kubernetes kills after 30, the contract says 20
    messages  that `once` waits for its messages; what is left stays in the queue
    message   for one message; services answer within one second
    question  for one question to a cluster, with its tries and the wait for a turn
    away      until a cluster that did not answer is asked again
    """

    drain: float = 18.0
    messages: float = 30.0
    message: float = 10.0
    question: float = 30.0
    away: float = 15.0


USUAL = Limits()
