from latent_jax.generation.unknown_words import mark, words_of

KNOWN = frozenset(words_of([b"The cat sat on the mat; it's naive.", "Ein naïver Kater".encode()]))


def test_words_have_no_case_and_keep_their_apostrophes():
    assert {"the", "cat", "it's", "naïver"} <= KNOWN
    assert list(words_of([b"A1b, c-d"])) == ["a", "b", "c", "d"]


def test_unknown_words_are_in_brackets_and_counted():
    marked = mark(b"", b"The CAT szt on thhe mat 42 times.", KNOWN, is_cut=False)
    assert marked.text == "The CAT [szt] on [thhe] mat 42 [times]."
    assert (marked.n_words, marked.n_unknown) == (7, 3)


def test_a_word_that_begins_in_the_prompt_is_looked_up_whole():
    assert mark(b"The c", b"at sat", KNOWN, is_cut=False) == ("at sat", 2, 0)
    assert mark(b"The c", b"ot sat", KNOWN, is_cut=False) == ("[ot] sat", 2, 1)
    assert mark(b"The cat", b" sat", KNOWN, is_cut=False) == (" sat", 1, 0)


def test_the_last_word_of_a_text_that_was_cut_is_left_out():
    assert mark(b"", b"the ma", KNOWN, is_cut=True) == ("the ma", 1, 0)
    assert mark(b"", b"the ma", KNOWN, is_cut=False) == ("the [ma]", 2, 1)
    assert mark(b"", b"the ma ", KNOWN, is_cut=True) == ("the [ma] ", 2, 1)


def test_bytes_that_are_no_text_break_a_word():
    marked = mark(b"", b"c\xffat sat", KNOWN, is_cut=False)
    assert marked.text == "[c]\N{REPLACEMENT CHARACTER}[at] sat" and marked.n_unknown == 2
