"""What goes wrong with one image, told apart from what goes wrong with all of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from segdino_deploy.errors import InputError, SegdinoDeployError, one_line


class ImageFailed(InputError):
    """Concerns one image: a run over a folder counts it and goes on."""


@contextmanager
def reading(place: object, cure: str = "add --mode tile") -> Iterator[None]:
    """Reads the image of that place, and nothing else: whatever its decoder stumbles over becomes ImageFailed.

    `cure`: of an image that is too large. SegdinoDeployError goes through where it is no InputError: it concerns all.
    """
    try:
        yield
    except ImageFailed:
        raise
    except InputError as error:
        raise ImageFailed(str(error)) from error
    except SegdinoDeployError:
        raise
    except FileNotFoundError as error:
        raise ImageFailed(f"{place}: no such file") from error
    except PermissionError as error:
        raise ImageFailed(f"{place}: no permission to read it") from error
    except MemoryError as error:
        raise ImageFailed(f"{place}: not enough memory to decode it; {cure}") from error
    except Exception as error:  # one image among a million must not end the run, whatever its decoder raises
        raise ImageFailed(f"{place}: cannot be read ({type(error).__name__}: {one_line(error)})") from error


def unwritable(place: object, error: OSError) -> ImageFailed:
    """Of an image whose results cannot be written, such as under a name that is too long."""
    return ImageFailed(f"{place}: its results cannot be written ({one_line(error)})")
