"""What the mixers of each app look at, and by what its trainings are compared."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Form:
    """What an app's mixers look at, and how its trainings are measured and tried.

    dims: of the grid of tokens; causal: whether what follows is hidden. measure: what a record's metrics call the
    measure; higher: whether more of it is better. example: data of this repository, with the options of a training on
    them.
    """

    dims: int
    causal: bool
    measure: str
    higher: bool
    example: tuple[str, ...] = ()


FORMS = {
    "chest": Form(2, False, "balanced_accuracy", True),
    "ctr": Form(1, False, "logloss", False, ("examples/clicks.csv", "--label", "click")),
    "galaxy": Form(2, False, "balanced_accuracy", True),
    "reid": Form(2, False, "mAP", True),
    "music": Form(1, True, "nll_per_token", False, ("examples/chorales.json", "--style", "chorale")),
}
