"""Options that mean the same in several `attn galaxy` commands."""

from typing import Annotated

import typer

Hdu = Annotated[str | None, typer.Option(help="HDU by number or name; the first usable image when not given.")]
