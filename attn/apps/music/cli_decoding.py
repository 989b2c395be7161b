"""The options of `attn music generate` that say how a step is computed: a second, softened pass, fewer keys."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from attn import console
from attn.core.errors import InputError
from attn.options import no_effect, number, share

if TYPE_CHECKING:
    from attn.apps.music.predict import MusicGenerator

HINT = "`attn look MODEL INPUT --hunt OBJECTIVE` writes one"


@dataclass(frozen=True)
class Decoding:
    """Files that `attn look --hunt` and `attn music profile` wrote, and how strongly the first acts."""

    guide: Annotated[
        Path | None, typer.Option(help="Guide by the heads in this file, which `attn look --hunt` wrote for the model.")
    ] = None
    guide_strength: Annotated[
        float | None, number("Strength of the guidance; 0 for none, that of the file if not given.", least=0, most=100)
    ] = None
    guide_softness: Annotated[
        float | None, share("How far the heads are softened, 0 to 1; as in the file if not given.")
    ] = None

    policy: Annotated[
        Path | None, typer.Option(help="Decode with this policy, which `attn music profile` wrote for the model.")
    ] = None

    def refuse(self) -> None:
        """What can be refused before torch is loaded."""
        if self.policy is not None and not self.policy.exists():
            raise InputError("there is no such file", where=self.policy, hint="`attn music profile MODEL` writes one")
        if self.guide is None:
            no_effect("without --guide", guide_strength=self.guide_strength, guide_softness=self.guide_softness)
        elif not self.guide.exists():
            raise InputError("there is no such file", where=self.guide, hint=HINT)

    def settings(self, generator: "MusicGenerator") -> dict[str, Any]:
        """What a request has of these; nothing where nothing changes. Raises InputError for a file of another model."""
        found = self._guided(generator)
        if self.policy is not None:
            from attn.apps.music.profile import read_policy

            found["policy"] = read_policy(self.policy, generator)
        return found

    def _guided(self, generator: "MusicGenerator") -> dict[str, Any]:
        if self.guide is None:
            return {}
        from attn.core.models.record import fingerprint
        from attn.look.hunting import read_heads

        found = read_heads(self.guide)
        if found.app != "music" or found.fingerprint != fingerprint(generator.record):
            raise InputError(
                f"holds heads of the model {found.model!r:.60}, not of {generator.record.name!r:.60}",
                where=self.guide,
                hint="hunt in this model, or give --model",
            )
        if not found.heads:
            console.say(f"{self.guide}: the hunt found no heads, so nothing is guided")
        guide = found.guidance(self.guide_strength, self.guide_softness)
        sites = {f"blocks.{n}.mixer": block.mixer for n, block in enumerate(generator.model.layers)}
        for site, heads in guide.heads.items():
            if site not in sites or max(heads) >= sites[site].config.heads:
                raise InputError(f"names a head that the model has not, of {site[:40]!r}", where=self.guide)
        return {"guide": guide} if guide.active else {}
