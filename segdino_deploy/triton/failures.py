"""What the client library raises, in one line with its cure. Its two transports fail in ways of their own."""

from __future__ import annotations

from segdino_deploy.errors import InputError, SegdinoDeployError, one_line
from segdino_deploy.triton.address import Address
from segdino_deploy.triton.options import TOKEN_VARIABLE


def is_refused(error: Exception) -> bool:
    """Whether nothing listens at the address."""
    if isinstance(error, OSError):
        return isinstance(error, ConnectionRefusedError)
    return _status(error).endswith("UNAVAILABLE") and "connection refused" in message_of(error).lower()


def refused(where: str, attempts: int) -> SegdinoDeployError:
    return SegdinoDeployError(
        f"{where}: connection refused ({attempts} attempts): is a server running there? "
        "Triton listens on 8001 for gRPC and on 8000 for HTTP unless told otherwise"
    )


def translate(
    error: Exception, address: Address, timeout_seconds: float, *, is_about_model: bool
) -> SegdinoDeployError:
    """`is_about_model`: of a question whether the server has a model. What it denies, the user can cure: InputError."""
    where, status, said = address.text, _status(error), message_of(error)
    kind = InputError if is_about_model else SegdinoDeployError
    if isinstance(error, TimeoutError) or status.endswith("DEADLINE_EXCEEDED"):
        return SegdinoDeployError(
            f"{where}: no answer within {timeout_seconds:g} s: the server is busy or the model slow; "
            "--triton-timeout gives it more"
        )
    if status in ("401", "403") or status.endswith(("UNAUTHENTICATED", "PERMISSION_DENIED")):
        return kind(f"{where}: not allowed in ({said}); set {TOKEN_VARIABLE} to the token, or give --triton-header")
    if "WRONG_VERSION_NUMBER" in said:  # OpenSSL's word, of both transports, for an answer without TLS
        plain = where.replace("s://", "://", 1)
        return SegdinoDeployError(f"{where}: what listens there speaks no TLS: is it {plain}?")
    if _is_foreign(error, status, said):
        return garbage(where, error)
    if status.endswith("UNAVAILABLE") or isinstance(error, OSError):
        return SegdinoDeployError(f"{where}: cannot be reached: {said}")
    if is_about_model and (status in ("400", "404") or status.endswith(("NOT_FOUND", "INVALID_ARGUMENT"))):
        path = " leave the path out of the address, or" if address.has_path else ""
        return InputError(f"{where}: the server says: {said};{path} name a model that it has with --triton-model")
    return SegdinoDeployError(f"{where}: the server says: {said}")


def garbage(where: str, error: Exception) -> SegdinoDeployError:
    return SegdinoDeployError(
        f"{where}: the answer is not the v2 protocol ({message_of(error)}): is it a server of models that listens "
        "there, and is it the port of this protocol?"
    )


def message_of(error: Exception) -> str:
    """The first line of what the server or the library says."""
    message = error.message() if hasattr(error, "message") else None
    return one_line(Exception(message) if isinstance(message, str) and message else error)


def _status(error: Exception) -> str:
    """`404` or `StatusCode.NOT_FOUND`; empty for what is no answer of a server."""
    return str(error.status()) if hasattr(error, "status") else ""


def _is_foreign(error: Exception, status: str, said: str) -> bool:
    """Whether something else than a v2 server answered, or nothing that can be read."""
    if status.isdecimal():  # the library keeps the body of an error that it could not read
        return getattr(error, "debug_details", lambda: None)() is not None
    if status:
        return "HTTP/2" in said
    return not isinstance(error, OSError)
