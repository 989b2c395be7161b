"""Options that mean the same in several `attn galaxy` commands."""

from typing import Annotated

import typer

Hdu = Annotated[str | None, typer.Option(help="HDU by number or name; the first usable image when not given.")]
Image = Annotated[str | None, typer.Option(help="Column with the path of the image.")]
Tta = Annotated[bool, typer.Option("--tta", help="Average over the eight turns and mirror images; 8x the work.")]
