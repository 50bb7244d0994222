"""What `launch/analyze.py problems` counts, on a few problems counted by hand."""

import json

import pytest

from latent_jax.analysis import problems
from latent_jax.analysis.problems import ProblemsOptions
from latent_jax.commands.analyze import analyze
from latent_jax.data.problems import parse_problem, problem_document
from latent_jax.tokenizers import Bytes

ANSWERS = {
    "Is 24 half of 48?": "48/2 = <<48/2=24>>24.\nAll: 2 * 24 = $<<2*(24-1+1)=48>>48.\n#### 48",
    "How much?": "So = <<10/3=3.33>>3.3 and <<1500=1,500>>1500 = 4 + 4 = 9.\n#### 1,500",
    "None?": "It is 5.\n#### 5",
}


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "few.jsonl"
    lines = [json.dumps({"question": q, "answer": a}) for q, a in ANSWERS.items()]
    path.write_text("\n".join(lines))
    return str(path)


def test_everything_is_counted(file, tmp_path, capsys):
    kept = {name: str(tmp_path / f"{name}.json") for name in ("json", "lengths")}
    tables = analyze(
        "problems",
        ProblemsOptions(text=(f"few={file}", f"twice={file}"), tokenizer=("Bytes",), **kept),
    )
    found = {record["what"]: record["few"] for record in tables["problems"]}
    assert found == {record["what"]: record["twice"] for record in tables["problems"]}
    assert found == pytest.approx(
        {
            "problems": 3,
            "questions that occur twice": 0,
            "marks": 4,
            "marks per answer": 4 / 3,
            "answers with 0 marks": 1,
            "answers with 1 marks": 0,
            "answers with 2 marks": 2,
            "lines with 2 marks or more": 1,
            "marks behind '=' %": 75,
            "'=' before a mark %": 60,
            "marks that are right within 1 %": 4,
            "marks of 0 operators %": 25,
            "marks of 1 operators %": 50,
            "marks of 2 operators %": 0,
            "marks of 3 or more operators %": 25,
            "results that open their segment %": 50,
            "the same, commas aside %": 75,
            "results of more than 3 digits %": 25,
            "results with decimals %": 25,
            "results that stand in the question %": 50,
            "answers that are the last result": 2,
            "answers that the verifier takes": 3,
            "the same, lenient": 3,
            "equations in the text": 3,
            "of them hold %": 200 / 3,
        }
    )
    assert json.loads((tmp_path / "json.json").read_text()) == tables["problems"]
    lengths = json.loads((tmp_path / "lengths.json").read_text())
    assert lengths == tables["lengths"]
    (question,) = (r for r in lengths if (r["text"], r["piece"]) == ("few", "question"))
    assert question == {
        "method": "Bytes",
        "text": "few",
        "piece": "question",
        "mean": pytest.approx((17 + 9 + 5) / 3),
        **{"p50": 9, "p90": 17, "p95": 17, "p99": 17, "most": 17},
    }
    printed = capsys.readouterr().out
    assert "marks behind '=' %" in printed and "mark, lhs=rhs" in printed


def test_lengths_are_those_of_rows():
    read = [parse_problem(problem_document(q, a).text) for q, a in ANSWERS.items()]
    longest = {
        record["piece"]: record["most"]
        for record in problems.measure_lengths("few", read[:1], Bytes())["lengths"]
    }
    first, *later = read[0].segments
    assert longest["first segment"] == len(first) == 7
    assert longest["later segment"] == max(map(len, later))
    assert longest["mark, lhs=rhs"] == len("2*(24-1+1)=48") and longest["result"] == 2
    assert longest["answer without marks"] == len("".join(read[0].segments))
    assert longest["A"] == len(read[0].question) + longest["answer without marks"] + 1
    assert longest["B"] == len("".join(later)) + 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({}, "say which problems to measure"),
        ({"text": ("few",)}, r"--text is written NAME=FILES; got 'few'"),
        ({"text": ("a=b.jsonl",), "lengths": "x.json"}, "--lengths needs a --tokenizer"),
        ({"text": ("a=b.jsonl",), "vocab_file": "x.json"}, "those of a --tokenizer: name it"),
        ({"text": ("a=no.jsonl",)}, r"no\.jsonl does not exist"),
    ],
)
def test_mistakes_are_named(words, message):
    with pytest.raises(ValueError, match=message):
        analyze("problems", ProblemsOptions(**words))


def test_no_problems_are_refused():
    with pytest.raises(ValueError, match="'few' are none"):
        problems.measure("few", [])
