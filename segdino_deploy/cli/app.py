"""The `segdino-deploy` program: commands, errors and exit codes. Every heavy import is inside a command."""

from __future__ import annotations

import logging
import sys
import traceback
from typing import Annotated

import typer

from segdino_deploy.cli import (
    bench,
    build_engine,
    cpp_path,
    demo,
    doctor,
    export,
    inspect,
    predict,
    refit,
    serve,
    triton,
    verify,
)
from segdino_deploy.cli.console import print_error, print_line
from segdino_deploy.errors import CheckFailed, SegdinoDeployError, one_line

app = typer.Typer(
    name="segdino-deploy",
    help="From a trained SegDINO checkpoint to a fast, verified engine on your device.",
    epilog="Exit codes: 0 done, 1 a check failed, 2 wrong usage or input, 3 a needed component is missing, "
    "130 interrupted.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
app.command("inspect")(inspect.command)
app.command("export")(export.command)
app.command("build-engine")(build_engine.command)
app.command("refit")(refit.command)
app.command("bench")(bench.command)
app.command("predict")(predict.command)
app.command("verify")(verify.command)
app.command("doctor")(doctor.command)
app.command("demo")(demo.command)
app.command("triton")(triton.command)
app.command("serve")(serve.command)
app.command("cpp-path")(cpp_path.command)


INTERRUPTED = 130  # exit code, as of any program that SIGINT ends


def _show_version(asked: bool) -> None:
    if asked:
        from segdino_deploy import __version__

        print_line(f"segdino-deploy {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", callback=_show_version, is_eager=True)
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks; works anywhere on the line.")] = False,
) -> None:
    pass


def main() -> None:
    """Entry point. Turns every expected error into one line and its exit code."""
    debug = "--debug" in sys.argv[1:]
    arguments = [argument for argument in sys.argv[1:] if argument != "--debug"]
    for chatty in ("PIL", "matplotlib"):  # their own debugging, a line for every chunk of a file
        logging.getLogger(chatty).setLevel(logging.WARNING)
    logging.getLogger("pyvips").setLevel(logging.ERROR)  # its warnings of damaged files come as our errors
    logging.basicConfig(level=logging.DEBUG if debug else logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    sys.exit(run(arguments, debug))


def run(arguments: list[str], debug: bool = False) -> int:
    """Runs one command line and returns its exit code."""
    try:
        result = app(args=arguments, prog_name="segdino-deploy", standalone_mode=False)
        if result == INTERRUPTED:  # typer has made Ctrl-C an exit code
            raise KeyboardInterrupt
        return result if isinstance(result, int) else 0
    except SegdinoDeployError as error:
        if debug:
            traceback.print_exc()
        print_error(error)
        return error.exit_code
    except BrokenPipeError:  # the reader of our output, such as head, has seen enough
        sys.stderr.close()
        return 0
    except Exception as error:
        if _was_interrupted(error):
            return _interrupted()
        if debug and not hasattr(error, "format_message"):  # a usage error has no traceback worth reading
            traceback.print_exc()
        return _foreign(error)
    except KeyboardInterrupt:
        return _interrupted()


def _interrupted() -> int:
    print_error("interrupted; nothing half-written is left behind")
    return INTERRUPTED


def _was_interrupted(error: BaseException | None) -> bool:
    """Whether Ctrl-C is behind it: a compiled module that is being imported makes an ImportError of it."""
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__cause__
    return error is not None


def _foreign(error: Exception) -> int:
    """click's usage errors, out of memory, and our own bugs."""
    name = type(error).__name__
    if name in ("NoArgsIsHelpError", "Exit"):
        if name == "NoArgsIsHelpError":
            print_line(str(error))
        return int(getattr(error, "exit_code", 2))
    if name == "Abort":
        print_error("aborted")
        return INTERRUPTED
    format_message = getattr(error, "format_message", None)
    if format_message is not None:  # a usage error of click, or of the copy of it that typer may carry
        context = getattr(error, "ctx", None)
        where = f" (see {context.command_path} --help)" if context is not None else ""
        print_error(f"{one_line(Exception(format_message()))}{where}")
        return 2
    if isinstance(error, MemoryError):
        print_error("out of memory: use a smaller --size or --batch, or free some")
        return 2
    print_error(f"unexpected {name}: {one_line(error)}; please report it with the output of --debug")
    return CheckFailed.exit_code


if __name__ == "__main__":
    main()
