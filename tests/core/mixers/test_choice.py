"""Mixers as text: parsed, written and one for each layer."""

import pytest

from attn.core.errors import UsageError
from attn.core.mixers import Choice, parse, per_layer
from attn.core.mixers.choice import with_options

SPELT = {
    "halo": {},
    "neighborhood:kernel=5,dilation=2": {"kernel": 5, "dilation": 2},
    "halo:masked=false,block=4": {"masked": False, "block": 4},
    "relative:max_distance=none,clip=true": {"max_distance": None, "clip": True},
    "some:rate=0.25,low=-1": {"rate": 0.25, "low": -1},
}


@pytest.mark.parametrize(("text", "options"), SPELT.items())
def test_text_and_back(text, options):
    choice = parse(text)
    assert choice == Choice(text.split(":")[0], options)
    assert [type(value) for value in choice.options.values()] == [type(value) for value in options.values()]
    assert str(choice) == text


@pytest.mark.parametrize(
    "text",
    ["", ":", "halo:", "halo:block", "halo:block=", "halo:=4", "halo:block=4,", "halo:block=4,block=5", "a b", "9"],
)
def test_what_is_misspelt_is_said(text):
    with pytest.raises(UsageError, match=r"names no mixer: .*; write name:option=value,option=value"):
        parse(text)


def test_one_for_all_layers_or_one_for_each():
    assert per_layer("halo:block=4", 3) == [parse("halo:block=4")] * 3
    halos = [Choice("halo", {"block": 4, "halo": 1}), Choice("halo", {"block": 2})]
    stack = [Choice("relative"), *halos, Choice("relative")]
    assert per_layer("relative,halo:block=4,halo=1,halo:block=2,relative", 4) == stack
    assert per_layer("relative+halo:block=4,halo=1+halo:block=2+relative", 4) == stack, "as attn 0.1 wrote it"
    assert per_layer("softmax,static,softmax", 3) == [parse(name) for name in ("softmax", "static", "softmax")]
    with pytest.raises(UsageError, match="2 mixers for 3 layers; name one for all layers, or one for each"):
        per_layer("relative+halo", 3)


@pytest.mark.parametrize("text", ["softmax,,softmax", "softmax,", ",softmax", "block=4,softmax", "halo:block,softmax"])
def test_a_list_with_a_misspelt_layer_is_refused(text):
    with pytest.raises(UsageError, match="names no mixer"):
        per_layer(text, 3)


def test_records_with_options_beside_the_name():
    old = {"mixer": "halo", "mixer_options": {"block": 4, "masked": False}, "width": 8}
    assert with_options(old, "relative") == {"mixer": "halo:block=4,masked=false", "width": 8}
    assert with_options({"mixer_options": {"clip": True}}, "relative") == {"mixer": "relative:clip=true"}
    assert with_options({"mixer": "halo", "mixer_options": {}}, "relative") == {"mixer": "halo"}
    assert with_options({"mixer": "halo:block=2"}, "relative") == {"mixer": "halo:block=2"}
