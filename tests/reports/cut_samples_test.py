"""Samples of cut text: written while a run trains, and read again by a page."""

from latent_jax.reports.cut_samples import block_pieces, sample_block
from latent_jax.reports.page import render
from latent_jax.reports.page.cuts import cut_section
from latent_jax.reports.page.parts import Page
from latent_jax.reports.page.samples import sample_section
from latent_jax.reports.page.study import named
from latent_jax.reports.records import read_run


def lines_of(block):
    return dict(line.strip().split(": ", 1) for line in block.split("\n"))


def test_a_block_has_the_text_and_its_chunks():
    block = sample_block(["An ", "owl ", "│sees"], [False, True, False])
    assert block == "  text: An owl ¦sees\nchunks: An │owl ┃¦sees"
    pieces = block_pieces(lines_of(block))
    assert "".join(piece.text for piece in pieces) == "An owl ¦sees"
    assert [(p.chunk, p.outer) for p in pieces][::4] == [(0, 0), (1, 0), (2, 1)]
    assert block_pieces({"text": "abc", "reconstruction": "abd"}) == []


def test_a_page_shows_the_last_cuts_as_text(make_run):
    folder = make_run("cut", "HNet[n=4]", name="cut <b>")
    (folder / "samples").mkdir()
    for step, chunks in (("0000001", ["old"]), ("0000020", ["<i>a", "b</i>"])):
        block = sample_block(chunks, [False] * len(chunks))
        (folder / "samples" / f"step_{step}.txt").write_text(f"{block}\n")
    runs = named([read_run(folder)])
    (section,) = cut_section(runs)
    assert sample_section(runs) == [], "chunks are no reconstruction"
    html = render(Page("report", "t", "s", (), [section], "me"))
    main = html.partition("<main>")[2].partition("</main>")[0]
    assert '<span class="c0">&lt;i&gt;a</span><span class="c1">b&lt;/i&gt;</span>' in main
    assert "old" not in main and "<b>" not in main and "<i>" not in main
    other = make_run("plain", "Bytes")
    assert cut_section(named([read_run(other)])) == []
