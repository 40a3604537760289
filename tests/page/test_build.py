"""The page of a project: complete, the same again, and noticed when it is stale."""

from __future__ import annotations

import json
import shutil
from functools import partial
from pathlib import Path

import html5lib
import pandas as pd
import pytest
import yaml

from orc_repro.errors import UserError
from orc_repro.page.build import PAGE, check_page, every_study, write_page
from orc_repro.page.files import drawn_of, read_studies
from orc_repro.report.results import read_result
from orc_repro.stages.report import report
from tests.page.site import KEY, add_study_without_results, make
from tests.project import ROOT

PICTURE = Path(f"reports/roles/default/{KEY}.svg")
MOST_BYTES = 1_500_000


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(make(tmp_path))
    write_page(draw=every_study())
    return tmp_path


def test_the_page_has_what_the_table_says_and_every_picture(site: Path) -> None:
    text = PAGE.read_text(encoding="utf-8")
    document = html5lib.HTMLParser(strict=True, namespaceHTMLElements=False).parse(text)
    cells = [
        ["".join(cell.itertext()) for cell in row]
        for row in document.iter("tr")
    ]  # fmt: skip
    lines = Path("reports/table.md").read_text(encoding="utf-8").splitlines()
    said = [[cell.strip() for cell in line.strip("| ").split(" | ")] for line in lines
            if line.startswith("| orc | resnet8 |")]  # fmt: skip
    assert said and all(row in cells for row in said)
    captions = ["".join(caption.itertext()) for caption in document.iter("figcaption")]
    assert len(captions) == 4
    assert "orc, seed 0: 75 role changes" in captions[1]
    assert "orc-repro run --study studies/default digits-r20-r8-kd-s0" in text
    assert "learning_rate: 0.05" in text


def test_studies_with_results_come_first_and_the_others_are_folded_away(site: Path) -> None:
    add_study_without_results("a_table")
    text = write_page(Path("more.html")).read_text(encoding="utf-8")
    document = html5lib.HTMLParser(strict=True, namespaceHTMLElements=False).parse(text)
    folded = [
        [section.get("id") for section in details.iter("section")]
        for details in document.iter("details")
    ]
    assert ["a_table"] in folded
    everything = [section.get("id") for section in document.iter("section")]
    assert everything == ["default", "a_table", "again"]
    links = [a.get("href") for nav in document.iter("nav") for a in nav.iter("a")]
    assert links == [f"#{name}" for name in everything]
    assert "<h2>Studies without a result</h2>" not in PAGE.read_text(encoding="utf-8")


def test_verdicts_and_their_rules_are_linked_where_they_are(site: Path) -> None:
    verdicts = '<a href="reproduction.md">reproduction.md</a> (verdicts on the paper&#39;s claims)'
    rules = '<a href="protocol.md">protocol.md</a> (the rules behind them)'
    assert f"<p>See {verdicts} and {rules}.</p>" in PAGE.read_text(encoding="utf-8")
    Path("reports/protocol.md").unlink()
    assert f"<p>See {verdicts}.</p>" in write_page().read_text(encoding="utf-8")
    Path("reports/reproduction.md").unlink()
    assert "<p>See " not in write_page().read_text(encoding="utf-8")


def test_it_says_how_one_cell_is_measured_again_and_what_that_needs(site: Path) -> None:
    again = PAGE.read_text(encoding="utf-8").partition('<section id="again"')[2]
    for command in (
        "orc-repro queue",
        "orc-repro run --study STUDY CELL",
        "orc-repro prepare cifar10 &amp;&amp; orc-repro prepare cifar100",
        "make scaled-data",
    ):
        assert f"<code>{command}</code>" in again
    assert "A result that is there counts as done" in again


def test_the_numbers_by_epoch_lie_beside_the_picture(site: Path) -> None:
    table = pd.read_csv(f"reports/numbers/default/{KEY}-roles.csv")
    assert table["changes"].sum() == 75
    assert table["margin_median"].dropna().tolist() == pytest.approx([0.2] * 14)
    # 38 iterations an epoch, 7 a tenure: three tenures of one and 7 + 7 + 3 of the other.
    assert table["share/resnet14"][0] == pytest.approx(21 / 38, abs=1e-6)


def test_the_same_files_give_the_same_page_without_role_changes_too(site: Path) -> None:
    before, drawn = PAGE.read_bytes(), PICTURE.read_bytes()
    shutil.rmtree("roles")
    write_page(draw=every_study())
    assert PAGE.read_bytes() == before and PICTURE.read_bytes() == drawn
    check_page()


@pytest.mark.parametrize(
    ("path", "old", "new"),
    [
        ("reports/table.md", "| orc |", "| other |"),
        ("reports/index.html", "not run", "measured"),
        ("reports/runs.csv", "digits-r20-r8-ce-s0", "digits-r20-r8-ce-s9"),
    ],
)
def test_a_stale_page_is_noticed(site: Path, path: str, old: str, new: str) -> None:
    text = Path(path).read_text(encoding="utf-8")
    assert old in text
    Path(path).write_text(text.replace(old, new), encoding="utf-8")
    with pytest.raises(UserError, match=r"index\.html is not what the reports give"):
        check_page()


def test_pictures_of_another_run_or_other_numbers_are_noticed(site: Path) -> None:
    history = Path(f"results/default/trained/{KEY}.json")
    former = history.read_text()
    history.write_text(json.dumps(json.loads(former) | {"fingerprint": "0" * 32}))
    with pytest.raises(UserError, match=r"orc-s0\.svg is not of the run;"):
        check_page()
    history.write_text(former)
    runs = pd.read_csv("reports/runs.csv")
    runs.assign(seconds=runs["seconds"] * 2).to_csv("reports/runs.csv", index=False)
    with pytest.raises(UserError, match=r"digits\.svg is not of the runs;"):
        check_page()


def test_accuracies_by_class_are_drawn_from_results_alone(site: Path) -> None:
    table = pd.read_csv(f"reports/numbers/default/{KEY}-classes.csv")
    assert sorted(table["class"]) == list(range(10))
    alone = read_result("digits-r20-r8-ce-s0", Path("results/default/evaluated"))
    assert alone is not None
    said = table.set_index("class")["resnet8, alone"].sort_index()
    assert said.tolist() == pytest.approx(alone.target.last.class_top1, abs=1e-4)
    # Of those whose pivot never learns there is nothing to compare.
    drawn = {path.stem for path in Path("reports/classes/default").glob("*.svg")}
    assert drawn == {f"digits-r20-r8-orc-s{seed}" for seed in range(3)}
    assert drawn_of(KEY, read_studies()[0].cells.cells[KEY]) == {
        "roles": [PICTURE, Path(f"reports/numbers/default/{KEY}-roles.csv")],
        "classes": [
            Path(f"reports/classes/default/{KEY}.svg"),
            Path(f"reports/numbers/default/{KEY}-classes.csv"),
        ],
    }


@pytest.mark.parametrize(
    ("section", "name"),
    [("methods", "kd"), ("groups", "r20-r8"), ("recipes", "digits"), ("data", "digits")],
)
def test_a_name_that_params_yaml_lost_is_told_in_a_sentence(
    site: Path, section: str, name: str
) -> None:
    params = yaml.safe_load(Path("params.yaml").read_text(encoding="utf-8"))
    params[section]["renamed"] = params[section].pop(name)
    Path("params.yaml").write_text(yaml.safe_dump(params), encoding="utf-8")
    for command in (write_page, check_page, partial(report, Path("studies/default"))):
        with pytest.raises(UserError, match=f"names '{name}', which params.yaml's {section}"):
            command()


def test_role_changes_of_another_run_are_not_drawn(site: Path) -> None:
    path = Path(f"roles/{KEY}.parquet")
    pd.read_parquet(path).iloc[:-1].to_parquet(path)
    with pytest.raises(UserError, match="is not of the run that"):
        write_page(draw=every_study())


def test_runs_are_links_to_the_ui_or_to_a_server(site: Path) -> None:
    run = pd.read_csv("reports/runs.csv").query("cell == 'digits-r20-r8-orc-s0'")["run_id"].item()
    link = '<a href="http://127.0.0.1:5000/#/runs/{0}">{0}</a>'
    assert link.format(run) in PAGE.read_text()
    linked = write_page(Path("linked.html"), "https://mlflow.example/").read_text()
    assert f'<a href="https://mlflow.example/#/runs/{run}">{run}</a>' in linked
    with pytest.raises(UserError, match="does not begin with http"):
        write_page(Path("linked.html"), "javascript:alert(1)")
    for secret in ("https://me:geheim@mlflow.example", "https://mlflow.example/?token=geheim"):
        with pytest.raises(UserError, match=r"public.*https://mlflow\.example") as caught:
            write_page(Path("linked.html"), secret)
        assert "geheim" not in str(caught.value)


HOSTILE = (
    '<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"><script href="data:,1"/>'
    '<a href="javascript:alert(1)"><text>x</text></a>'
    '<foreignObject><iframe srcdoc="&lt;script&gt;"/></foreignObject></svg>'
)


def test_a_picture_is_linked_and_nothing_in_it_becomes_a_part_of_the_page(site: Path) -> None:
    for path in Path("reports").glob("**/*.svg"):
        path.write_text(HOSTILE)
    text = write_page().read_text(encoding="utf-8")
    document = html5lib.HTMLParser(strict=True, namespaceHTMLElements=False).parse(text)
    elements = list(document.iter())
    assert not {"svg", "script", "iframe", "foreignObject"} & {e.tag for e in elements}
    attributes = [attribute for e in elements for attribute in e.attrib.items()]
    assert not [name for name, _ in attributes if name.startswith("on")]
    assert not [value for _, value in attributes if value.startswith("javascript:")]
    links = [image.get("src") or "" for image in document.iter("img")]
    assert f"roles/default/{KEY}.svg" in links
    assert len(links) == 4 and all((PAGE.parent / link).is_file() for link in links)


def test_a_page_elsewhere_links_to_the_same_files(site: Path) -> None:
    folder = Path("else where/deep")
    folder.mkdir(parents=True)
    text = write_page(folder / "page.html").read_text(encoding="utf-8")
    assert f'<img src="../../reports/roles/default/{KEY}.svg"' in text
    assert '<a href="../../reports/protocol.md">protocol.md</a>' in text
    shutil.copytree("studies/default", "studies/a #1")
    shutil.copytree("reports/figures", "reports/a #1/figures")
    assert '<img src="a%20%231/figures/digits-r20-r8-validation.svg"' in write_page().read_text()


def test_the_page_of_all_studies_is_small() -> None:
    assert (ROOT / PAGE).stat().st_size < MOST_BYTES
