"""What a server may use up, who may ask it, and how long it waits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image

from segdino_deploy.errors import InputError

TOKEN_VARIABLE = "SEGDINO_TOKEN"
MIN_TOKEN_LENGTH = 16  # below it guessing is a matter of time
MAX_TOKEN_BYTES = 4096  # of a file that is given by mistake no more is read
LEAST, MOST = 0.001, 10**6  # of what has no other bound
DAY_SECONDS = 86400


@dataclass(frozen=True)
class ServeOptions:
    """Limits of a server. InputError where one makes no sense.

    `max_queue` counts, for each model, requests and images from their arrival to their answer; of images, one full
    batch is taken in any case. What bounds the memory is the sum of the requests (`max_queue` of `max_request_mib`, for
    each model) and their answers, of the image files that are being decoded (`max_pixels`, a few at a time), and of the
    answers that clients have not read yet.
    """

    host: str = "127.0.0.1"
    port: int = 8000  # 0: a free one
    token: str | None = field(default=None, repr=False)
    max_batch: int | None = None  # images that run together; None: what the engine takes
    batch_delay_ms: float = 0.0  # that the first image of a batch waits for others
    max_queue: int = 64
    max_request_mib: float | None = None  # None: 16, or what a full batch takes where that is more
    max_pixels: int = 40_000_000  # of an image file: above 8K video and most cameras
    deadline_seconds: float = 30.0  # from a whole request to its answer
    drain_seconds: int = 20  # for requests that are there when the server is told to stop
    body_seconds: float = 30.0  # for a client to send the body of its request
    # for a client to read an answer and to send the next request's head; proxies keep a connection for 60 s
    idle_seconds: float = 65.0
    access_log: bool = False

    def __post_init__(self) -> None:
        ranges: dict[str, tuple[float, float | None, float]] = {  # of what each option of that name may be
            "port": (0, self.port, 65535),
            "max-batch": (1, self.max_batch, MOST),
            "batch-delay-ms": (0, self.batch_delay_ms, 1e3 * DAY_SECONDS),
            "max-queue": (1, self.max_queue, MOST),
            "max-request-mib": (LEAST, self.max_request_mib, MOST),
            "max-pixels": (1, self.max_pixels, 2 * (Image.MAX_IMAGE_PIXELS or MOST)),  # above which Pillow refuses
            "deadline-seconds": (LEAST, self.deadline_seconds, DAY_SECONDS),
            "drain-seconds": (0, self.drain_seconds, DAY_SECONDS),
            "body-seconds": (LEAST, self.body_seconds, DAY_SECONDS),
            "idle-seconds": (LEAST, self.idle_seconds, DAY_SECONDS),
        }
        for name, (lowest, value, highest) in ranges.items():
            if value is not None and not lowest <= value <= highest:
                raise InputError(f"--{name}: {str(value)[:24]} is not between {lowest:.9g} and {highest:.9g}")
        if self.batch_delay_ms >= self.deadline_seconds * 1e3:
            raise InputError(
                f"--batch-delay-ms: {self.batch_delay_ms:g}: a request without company would wait beyond "
                f"--deadline-seconds {self.deadline_seconds:g}"
            )


def read_token(file: Path | None, environment: Mapping[str, str]) -> str | None:
    """The token from `file`, else from the environment's SEGDINO_TOKEN; None where neither is given.

    It is never an argument: those are in everybody's process list. InputError for one that cannot be a header or is
    short enough to be guessed.
    """
    if file is not None:
        where = str(file)
        try:
            with file.open("rb") as opened:
                content = opened.read(MAX_TOKEN_BYTES)
        except OSError as error:
            raise InputError(f"--token-file {file}: cannot be read ({error.strerror})") from error
        text = content.decode("ascii", errors="replace").strip()
    elif TOKEN_VARIABLE in environment:
        where, text = TOKEN_VARIABLE, environment[TOKEN_VARIABLE].strip()
    else:
        return None
    if len(text) < MIN_TOKEN_LENGTH or not all("!" <= character <= "~" for character in text):
        raise InputError(
            f"{where}: holds no token, which is one line of {MIN_TOKEN_LENGTH} or more ASCII letters, digits and signs;"
            " make one: openssl rand -hex 32"
        )
    return text
