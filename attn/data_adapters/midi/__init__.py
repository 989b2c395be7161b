"""Music: MIDI files as notes and back, notes as the events of a vocabulary, chorales, and tokens on disk."""

from typing import TYPE_CHECKING

from attn.data_adapters.lazy import lazy

if TYPE_CHECKING:
    from attn.data_adapters.midi.events import EventVocabulary as EventVocabulary
    from attn.data_adapters.midi.file import read_midi as read_midi
    from attn.data_adapters.midi.file import with_sustain as with_sustain
    from attn.data_adapters.midi.notes import Notes as Notes
    from attn.data_adapters.midi.writer import write_midi as write_midi

__all__ = ["EventVocabulary", "Notes", "read_midi", "with_sustain", "write_midi"]

__getattr__ = lazy(
    __name__,
    {
        "EventVocabulary": "events",
        "Notes": "notes",
        "read_midi": "file",
        "with_sustain": "file",
        "write_midi": "writer",
    },
)
