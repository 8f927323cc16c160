"""The command that edits a net in the browser."""

from __future__ import annotations

import gc
from pathlib import Path

import click


@click.command()
@click.argument("file", type=click.Path(path_type=Path), metavar="FILE.prototxt")
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="Port on 127.0.0.1; a free one.")
@click.option("--no-browser", is_flag=True, help="Only print the page's address.")
@click.option("--debug", is_flag=True, help="Show where an error comes from.")
def edit(file: Path, port: int, no_browser: bool, debug: bool) -> None:
    """Edit FILE.prototxt in the browser: its text on the left, its graph as you type on the right."""
    from graphviz_nets.server.edit import serve

    def ready(address: str) -> None:
        click.echo(address)
        click.echo(f"editing {file}; Ctrl+C ends", err=True)
        if not no_browser:
            click.launch(address)

    gc.enable()  # this process draws for hours, not once
    serve(file, port, ready)
