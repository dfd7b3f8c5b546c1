"""One line of a foreign error's text."""

from __future__ import annotations

from segdino_deploy.errors import one_line


def test_the_first_line_that_says_something() -> None:
    assert one_line(ValueError("\n  too large \n at x")) == "too large"
    assert one_line(ValueError()) == "ValueError"
    assert one_line(ValueError("é" * 400), limit=5) == "éééé…"


def test_lines_that_only_name_a_place_in_a_librarys_source_are_passed_over() -> None:
    """As OpenVINO 2026.4 writes them."""
    text = (
        "Exception from src/inference/src/cpp/core.cpp:132:\nCheck 'a == b' failed at src/x.cpp:7:\nUnknown operator Y"
    )
    assert one_line(RuntimeError(text)) == "Unknown operator Y"
    assert one_line(RuntimeError("Exception from src/x.cpp:1:\n")) == "Exception from src/x.cpp:1:"
