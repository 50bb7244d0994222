import pytest

from latent_jax.generation.prompts import first_sentence


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (b"One. Two.", b"One."),
        (b"  \n\n Is it? Yes.", b"Is it?"),
        (b'He said "no." Then he left.', b'He said "no."'),
        (b"It costs 3.5 euros! Or more.", b"It costs 3.5 euros!"),
        (
            b"Written by J. R. R. Tolkien in 1937. It is long.",
            b"Written by J. R. R. Tolkien in 1937.",
        ),
        (b"A title\nand a text. More.", b"A title"),
        (b"A title\r\nand a text.", b"A title"),
        ("Ein naïver Satz. Noch einer.".encode(), "Ein naïver Satz.".encode()),
        (b"no end at all ", b"no end at all"),
        (b" \n ", b""),
    ],
)
def test_the_first_sentence_ends_at_its_stop_or_its_line(text, sentence):
    assert first_sentence(text) == sentence
