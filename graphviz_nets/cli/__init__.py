"""The command line: each command is a thin function over the library."""

from __future__ import annotations

import gc
import os
import sys

from graphviz_nets.errors import GraphvizNetsError

INTERRUPTED = 130


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit with its code.

    Exit codes: 0 done; 1 checked and found different or stale; 2 wrong usage or configuration; 3 the model or data is
    at fault; 4 a needed extra or program is missing; 5 a limit was hit; 130 interrupted.
    """
    # One model is opened, drawn and forgotten: to search its objects for cycles again and again costs a third of the
    # time and frees nothing.
    gc.disable()
    sys.exit(run(arguments))


def run(arguments: list[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    import click

    from graphviz_nets.cli.commands import program
    from graphviz_nets.cli.editing import edit
    from graphviz_nets.cli.explaining import explain

    program.add_command(explain)
    program.add_command(edit)
    given = sys.argv[1:] if arguments is None else arguments
    debug = "--debug" in given
    try:
        result = program.main(args=list(given), prog_name="graphviz-nets", standalone_mode=False)
        sys.stdout.flush()
    except (click.exceptions.Abort, KeyboardInterrupt):
        print("interrupted", file=sys.stderr)
        return INTERRUPTED
    except click.ClickException as fault:
        fault.show()
        return fault.exit_code
    except GraphvizNetsError as fault:
        if debug:
            raise
        print(f"error: {one_line(str(fault))}", file=sys.stderr)
        return fault.exit_code
    except BrokenPipeError:
        # The reader has gone: nothing more to say, and nothing to flush at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except MemoryError:
        print("error: out of memory", file=sys.stderr)
        return 5
    except Exception as fault:
        if debug:
            raise
        what = one_line(f"{type(fault).__name__}: {fault}")
        print(f"error: {what} (a fault of graphviz-nets; --debug shows where)", file=sys.stderr)
        return 3
    return result if isinstance(result, int) else 0


def one_line(text: str) -> str:
    """Return text on one line, without control characters, at most 2,000 characters."""
    clean = "".join(char if char.isprintable() else " " for char in text)
    return clean if len(clean) <= 2000 else clean[:1999] + "…"
