"""Fields are guessed from a sample, and corrected in TOML."""

from pathlib import Path

import pytest
from data_adapters.tables.clicks import FIELDS

from attn.core.errors import InputError
from attn.data_adapters.tables.fields import Field, override


def test_a_toml_file_corrects_the_guess(tmp_path: Path):
    path = tmp_path / "fields.toml"
    path.write_text('[price]\ntransform = "log2"\n["site too"]\ncolumn = "site"\n[size]\nkind = "ignore"\n')
    found = {one.name: one for one in override(FIELDS, path, ["site", "tags", "price", "size", "hits", "at"])}
    assert found["price"].transform == "log2" and found["site too"].kind == "category" and "size" not in found


def test_a_column_that_is_ignored_has_no_field(tmp_path: Path):
    path = tmp_path / "fields.toml"
    fields = [*FIELDS, Field(name="tags as a whole", column="tags", kind="category")]
    path.write_text('[tags]\nkind = "ignore"\n[at]\nkind = "ignore"\n["at: hour"]\npart = "hour"\n')
    found = override(fields, path, ["site", "tags", "price", "size", "hits", "at"])
    assert [one.name for one in found] == ["site", "price", "size", "hits", "at: hour"]


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("[price\n", "is not TOML"),
        ("price = 1\n", "price is not a section"),
        ('[price]\nkind = "colour"\n', "kind"),
        ("[price]\nkindd = 1\n", "kindd"),
        ('[price]\nkind = "multi"\nseparator = ""\n', r"\[price\] separator: String should have at least 1 character"),
        ('[price]\nkind = "multi"\nmost = 0\n', r"\[price\] most: Input should be greater than or equal to 1"),
        ('[new]\ncolumn = "gone"\n', "'gone', which is not there"),
    ],
)
def test_a_toml_file_that_means_nothing(text: str, what: str, tmp_path: Path):
    path = tmp_path / "fields.toml"
    path.write_text(text)
    with pytest.raises(InputError, match=what):
        override(FIELDS, path, ["price"])
