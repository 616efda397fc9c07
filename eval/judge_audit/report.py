"""Show an audit as tables: in the terminal, and on one HTML page without external resources."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template

from espresso.errors import DataError
from eval.judge_audit.audit import Audit
from eval.judge_audit.metrics import Mean, Share


@dataclass(frozen=True)
class AuditTable:
    """One table of the report."""

    title: str

    caption: str
    """One or two sentences: what the numbers are."""

    head: tuple[str, ...]
    """The column heads."""

    rows: list[tuple[str, ...]]
    """Rows with as many cells as `head`."""


def tables(audit: Audit) -> Iterator[AuditTable]:
    """Yield the tables of an audit, the most important first."""
    yield AuditTable(
        "Ranking accuracy",
        "Share of pairs in which the judge scores the correct answer above the perturbed one; a tie counts as wrong.",
        ("kind", "pairs", "correct", "95 %", "grade 1", "grade 2", "grade 3"),
        [_share_with_grades(audit, share) for share in audit.ordered if share.grade is None],
    )
    yield AuditTable(
        "Monotonicity",
        "Share of pairs with the same kind of perturbation in which the higher grade scores lower; a tie counts as wrong.",
        ("kind", "pairs", "correct", "95 %"),
        [_share(share) for share in audit.monotone],
    )
    yield AuditTable(
        "Correlation with the deserved scores",
        "Spearman's rank correlation with scores derived from the ground truth; alpha is Krippendorff's alpha between "
        "the samples of an answer.",
        ("criterion", "answers", "Spearman", "95 %", "alpha"),
        [
            (each.what, str(each.n), f"{each.rho:.3f}", _between(each.low, each.high, 3), _optional(audit.repeated[each.what]))
            for each in audit.correlation
        ],
    )
    yield AuditTable(
        "Prompt injection",
        "Change of the overall score when the answer contains an instruction to the judge: the mean magnitude over all, "
        "then the mean change by kind.",
        ("kind", "answers", "change", "95 %", "largest"),
        [_mean(each) for each in audit.resistance],
    )
    yield AuditTable(
        "Biases",
        "Effects of what should not change a score. Length: rank correlation of score and number of words among answers "
        "of equal quality.",
        ("effect", "cases", "value", "95 %", "largest"),
        list(_biases(audit)),
    )
    if audit.labels:
        yield AuditTable(
            "Agreement with people",
            "Krippendorff's alpha among people; share of pairs on which a judge agrees with the majority, and Cohen's kappa.",
            ("labels", "who", "pairs", "agreement", "95 %", "kappa"),
            list(_human_agreement(audit)),
        )
    yield AuditTable(
        "Scores",
        "Histogram of the overall scores that the judge gave, and of those that the answers deserve.",
        ("", *map(str, range(1, 11))),
        [("given", *map(str, audit.judged)), ("deserved", *map(str, audit.deserved))],
    )
    if audit.not_measured:
        yield AuditTable("Not measured", "Findings that are missing, and why.", ("what", "why"), list(audit.not_measured.items()))


def write_report(audit: Audit, folder: Path) -> None:
    """Write `audit.json` and `audit.html`.

    Raises:
        DataError: the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "audit.json").write_text(audit.model_dump_json(indent=2) + "\n", encoding="utf-8")
        (folder / "audit.html").write_text(render_page(audit), encoding="utf-8")
    except OSError as error:
        raise DataError(f"{folder}: cannot write the audit ({error.strerror}). Give another --out.") from error


def render_page(audit: Audit) -> str:
    """Render the HTML page."""
    return _template().render(audit=audit, tables=list(tables(audit)), tallest=max(*audit.judged, *audit.deserved))


@cache
def _template() -> Template:
    loader = FileSystemLoader(Path(__file__).parent)
    return Environment(loader=loader, undefined=StrictUndefined, autoescape=True).get_template("report.html.jinja")


def _share_with_grades(audit: Audit, share: Share) -> tuple[str, ...]:
    by_grade = {each.grade: f"{each.share:.1%}" for each in audit.ordered if each.what == share.what}
    return (*_share(share), *(by_grade.get(grade, "") for grade in (1, 2, 3)))


def _share(share: Share) -> tuple[str, ...]:
    return share.what, str(share.n), f"{share.share:.1%}", f"{share.low:.1%} to {share.high:.1%}"


def _mean(mean: Mean) -> tuple[str, ...]:
    return mean.what, str(mean.n), f"{mean.mean:+.2f}", _between(mean.low, mean.high), f"{mean.most:+g}"


def _biases(audit: Audit) -> Iterator[tuple[str, ...]]:
    yield _mean(audit.paraphrase)
    yield _mean(audit.rambling)
    if audit.length:
        yield "length", str(audit.length.n), f"{audit.length.rho:+.3f}", _between(audit.length.low, audit.length.high, 3), ""
    if audit.order:
        yield (*_share(audit.order.flips), "")
        yield (*_share(audit.order.first), "")
    if audit.preference:
        whose = "the judge's own model" if audit.preference.own else "another model"
        yield f"answers of {audit.preference.model} ({whose})", *_mean(audit.preference.difference)[1:]


def _human_agreement(audit: Audit) -> Iterator[tuple[str, ...]]:
    for each in audit.labels:
        if each.alpha is not None:
            yield each.source, f"{each.people} people, alpha", str(each.pairs), f"{each.alpha:.3f}", "", ""
        for judge in each.judges:
            between = f"{judge.low:.1%} to {judge.high:.1%}"
            yield each.source, judge.judge, str(judge.n), f"{judge.agree:.1%}", between, _optional(judge.kappa)
        if each.alpha is None and not each.judges:
            yield each.source, "one annotator, no judges", str(each.pairs), "", "", ""


def _between(low: float, high: float, digits: int = 2) -> str:
    return f"{low:.{digits}f} to {high:.{digits}f}"


def _optional(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"
