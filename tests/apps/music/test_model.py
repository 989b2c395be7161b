"""The model: what follows changes nothing, nor does padding of a melody; impossible settings are one sentence."""

import pytest
import torch
from music_fixtures import tiny_model
from torch.nn import functional as F

from attn.apps.music.model import PAD, configure
from attn.apps.music.styles import Chorale, Piano
from attn.core.errors import UsageError

SOURCE = {"source_vocabulary": Chorale().size}


def ids(*shape: int, style: Chorale | Piano) -> torch.Tensor:
    return torch.randint(3, style.size, shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("style", [Chorale(), Piano()])
def test_a_token_does_not_hear_what_follows(style: Chorale | Piano):
    model, ids_bl = tiny_model(style).eval(), ids(2, 24, style=style)
    changed_bl = torch.cat([ids_bl[:, :12], ids_bl[:, 12:].flip(1)], 1)
    with torch.no_grad():
        one, other = model(ids_bl), model(changed_bl)
    torch.testing.assert_close(one[:, :12], other[:, :12])
    assert not torch.allclose(one[:, 12:], other[:, 12:])


def test_padding_of_a_melody_changes_nothing():
    style = Chorale()
    model, ids_bl, source_bs = tiny_model(style, **SOURCE).eval(), ids(2, 16, style=style), ids(2, 6, style=style)
    with torch.no_grad():
        expected = model(ids_bl, source_bs)
        padded = model(ids_bl, F.pad(source_bs, (0, 5), value=PAD))
        torch.testing.assert_close(padded, expected)
        together = model(ids_bl, torch.stack([source_bs[0], F.pad(source_bs[1, :4], (0, 2), value=PAD)]))
        alone = model(ids_bl[1:], source_bs[1:, :4])
    torch.testing.assert_close(together[1:], alone)
    torch.testing.assert_close(together[:1], expected[:1])


def test_a_melody_changes_its_accompaniment_and_is_asked_for():
    style = Chorale()
    model, ids_bl, source_bs = tiny_model(style, **SOURCE).eval(), ids(1, 16, style=style), ids(1, 6, style=style)
    with torch.no_grad():
        assert not torch.allclose(model(ids_bl, source_bs), model(ids_bl, source_bs.flip(1)))
        with pytest.raises(UsageError, match="accompanies a melody"):
            model(ids_bl)


@pytest.mark.parametrize("settings", [{"depth": 0}, {"length": 1}, {"dropout": 1.0}, {"colour": "red"}])
def test_impossible_settings(settings: dict):
    with pytest.raises(UsageError, match=next(iter(settings))):
        configure(vocabulary=10, **settings)
