"""What folders and manifests call their splits."""

from __future__ import annotations

import re
import unicodedata

SPLITS = ("train", "valid", "test")

# Without accents and in small letters; other languages as far as users of theirs name folders so.
_NAMES = {
    "train": "train training trn entrainement apprentissage entrenamiento addestramento treino treinamento",
    "valid": "valid val validation validate dev devel development eval evaluation "
    "validierung validacion validazione validacao",
    "test": "test testing tst prueba pruebas teste",
}
_SPLIT_OF = {name: split for split, names in _NAMES.items() for name in names.split()}
# Words that say nothing of the split: "train_images", "Validation Set", "testset".
_FILLERS = "set sets split data dataset image images img imgs photo photos picture pictures pics samples folder"
_BETWEEN_WORDS = re.compile(r"[\W_]+")


def split_of(name: str) -> str | None:
    """The split, one of `SPLITS`, that `name` means in any case and usual spelling; None where it means none."""
    plain = "".join(char for char in unicodedata.normalize("NFKD", name.casefold()) if not unicodedata.combining(char))
    words = [word for word in _BETWEEN_WORDS.split(plain) if word and word not in _FILLERS.split()]
    if len(words) != 1:
        return None
    stems = (words[0].removesuffix(filler) for filler in ("", *_FILLERS.split()))
    return next((_SPLIT_OF[stem] for stem in stems if stem in _SPLIT_OF), None)
