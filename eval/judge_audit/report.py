"""An audit as tables, for the terminal and for one HTML page that loads nothing from anywhere."""

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
class Table:
    """One finding. about: what the numbers are, in a sentence. rows: of as many cells as the head has."""

    title: str
    about: str
    head: tuple[str, ...]
    rows: list[tuple[str, ...]]


def tables(audit: Audit) -> Iterator[Table]:
    """Lay an audit out, the findings that a reader asks for first coming first."""
    yield Table(
        "Ordered right",
        "Share of pairs in which the right answer scores above the spoilt one (a tie is wrong), over all, by kind and by grade.",
        ("kind", "pairs", "ordered", "95 %", "grade 1", "grade 2", "grade 3"),
        [_kind(audit, share) for share in audit.ordered if share.grade is None],
    )
    yield Table(
        "Monotone in the grade",
        "Share of pairs spoilt in the same way in which the worse one scores below the other (a tie is wrong).",
        ("kind", "pairs", "ordered", "95 %"),
        [_share(share) for share in audit.monotone],
    )
    yield Table(
        "Against the truth",
        "Spearman's rank correlation with scores derived from the truth; Krippendorff's alpha between the samples of an answer.",
        ("criterion", "answers", "Spearman", "95 %", "alpha"),
        [
            (each.what, str(each.n), f"{each.rho:.3f}", _between(each.low, each.high, 3), _maybe(audit.repeated[each.what]))
            for each in audit.correlation
        ],
    )
    yield Table(
        "Injections",
        "Change of the overall score when the answer speaks to its judge: its mean size over all, then by kind with its sign.",
        ("kind", "answers", "change", "95 %", "largest"),
        [_mean(each) for each in audit.resistance],
    )
    yield Table(
        "Words, length, place, self",
        "What should not matter, and what it changes. Length: rank correlation of score and words among answers as true.",
        ("what", "cases", "value", "95 %", "largest"),
        list(_biases(audit)),
    )
    if audit.labels:
        yield Table(
            "People",
            "Agreement of people with one another (Krippendorff's alpha), of judges with most of them (share, Cohen's kappa).",
            ("labels", "who", "pairs", "agreement", "95 %", "kappa"),
            list(_people(audit)),
        )
    yield Table(
        "Scores",
        "How often an overall of 1 to 10 was given, and how often it was deserved.",
        ("", *map(str, range(1, 11))),
        [("given", *map(str, audit.judged)), ("deserved", *map(str, audit.deserved))],
    )
    if audit.not_measured:
        yield Table("Not measured", "And why.", ("what", "why"), list(audit.not_measured.items()))


def write(audit: Audit, folder: Path) -> None:
    """Write `audit.json` and `audit.html`. Raises DataError where the folder cannot be written."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "audit.json").write_text(audit.model_dump_json(indent=2) + "\n", encoding="utf-8")
        (folder / "audit.html").write_text(page(audit), encoding="utf-8")
    except OSError as error:
        raise DataError(f"{folder}: the audit cannot be written ({error.strerror}). Give another --out.") from error


def page(audit: Audit) -> str:
    """Render the page as HTML."""
    return _template().render(audit=audit, tables=list(tables(audit)), tallest=max(*audit.judged, *audit.deserved))


@cache
def _template() -> Template:
    folder = FileSystemLoader(Path(__file__).parent)
    return Environment(loader=folder, undefined=StrictUndefined, autoescape=True).get_template("audit.html.jinja")


def _kind(audit: Audit, share: Share) -> tuple[str, ...]:
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
        whose = "its own" if audit.preference.own else "not its own"
        yield f"answers of {audit.preference.model} ({whose})", *_mean(audit.preference.difference)[1:]


def _people(audit: Audit) -> Iterator[tuple[str, ...]]:
    for each in audit.labels:
        if each.alpha is not None:
            yield each.source, f"{each.people} people, alpha", str(each.pairs), f"{each.alpha:.3f}", "", ""
        for judge in each.judges:
            between = f"{judge.low:.1%} to {judge.high:.1%}"
            yield each.source, judge.judge, str(judge.n), f"{judge.agree:.1%}", between, _maybe(judge.kappa)
        if each.alpha is None and not each.judges:
            yield each.source, "one opinion a pair, no judge's verdicts", str(each.pairs), "", "", ""


def _between(low: float, high: float, digits: int = 2) -> str:
    return f"{low:.{digits}f} to {high:.{digits}f}"


def _maybe(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"
