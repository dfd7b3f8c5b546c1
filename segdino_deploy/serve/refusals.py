"""Why a request gets no result, where neither the engine nor the server is to blame."""

from __future__ import annotations

from segdino_deploy.errors import InputError, SegdinoDeployError


class TooLarge(InputError):
    """More bytes or pixels than the server takes: 413."""


class TooSlow(InputError):
    """The body did not come in time: 408."""


class Overloaded(SegdinoDeployError):
    """More than the server can do in time: 503, to be tried again."""


class ClientGone(SegdinoDeployError):
    """Nobody waits for the answer any more."""
