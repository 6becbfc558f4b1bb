"""A run as one HTML file: no script, nothing from elsewhere, readable on paper."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from server.evaluation.comparing import Comparison
from server.evaluation.results import Group, Result, figures
from server.evaluation.statistics import wilson

_STYLE = """
:root { color-scheme: light dark }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 70rem; margin: 2rem auto; padding: 0 1rem }
table { border-collapse: collapse; width: 100%; margin: 1rem 0 2rem }
th, td { text-align: left; vertical-align: top; padding: .3rem .6rem; border-bottom: 1px solid #8886 }
td.n { font-variant-numeric: tabular-nums; white-space: nowrap }
.passed::before { content: "✓ "; color: #18794e } .failed::before { content: "✗ "; color: #c62828 }
.skipped::before { content: "– " } details { margin: .2rem 0 } small { opacity: .75 }
svg text { font: 11px system-ui, sans-serif; fill: currentColor } svg rect { fill: #4a7bd0 }
"""


def html_report(
    results: Sequence[Result], groups: Sequence[Group], comparisons: dict[str, list[Comparison]], told: str
) -> str:
    """The whole page; ``told`` says what was tested, when and by whom."""
    configs = list(dict.fromkeys(one.config for one in results))
    parts = [_head(told), *(_summary(config, [r for r in results if r.config == config]) for config in configs)]
    parts += [_comparison(name, rows) for name, rows in comparisons.items() if rows]
    parts += [_table(groups), _skipped(results), "</body></html>\n"]
    return "\n".join(part for part in parts if part)


def _head(told: str) -> str:
    policy = "default-src 'none'; style-src 'unsafe-inline'"
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>visavis eval</title>'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        f'<meta name="viewport" content="width=device-width"><style>{_STYLE}</style></head>'
        f"<body><h1>visavis eval</h1><p>{escape(told)}</p>"
    )


def _summary(config: str, results: Sequence[Result]) -> str:
    numbers = figures(results)
    low, high = numbers["pass_rate_interval"]
    rows = [("passed", f"{numbers['passed']} of {numbers['scenarios']} (95 %: {low:.0%} to {high:.0%})")]
    for key, name in (
        ("voice_to_voice_ms", "end of speech → first sound"),
        ("stop_ms", "interruption → silence"),
        ("duck_ms", "interruption → lower"),
    ):
        if (one := numbers[key]) is not None:
            text = f"median {one['median']:.0f} ms, 95th percentile {one['p95']:.0f}, worst {one['worst']:.0f}"
            rows.append((name, f"{text} (n {one['n']})"))
    if numbers["wer"] is not None:
        rows.append(("words misunderstood", f"median {numbers['wer']['median']:.0%} of a turn"))
    rows.append(("turns cut off", str(numbers["cutoffs"])))
    if hearers := sorted({one.hearer for one in results if one.hearer}):
        rows.append(("heard by", ", ".join(hearers)))
    cells = "".join(f'<tr><th scope="row">{escape(name)}</th><td>{escape(value)}</td></tr>' for name, value in rows)
    latencies = [value for one in results for value in one.latencies_ms if value >= 0]
    return f"<h2>{escape(config or 'the server')}</h2><table>{cells}</table>{_histogram(latencies)}"


def _histogram(latencies: Sequence[float]) -> str:
    """How many answers began after how long, in steps of 200 ms."""
    if len(latencies) < 3:
        return ""
    counts = [0] * (min(24, int(max(latencies) // 200)) + 1)
    for value in latencies:
        counts[min(len(counts) - 1, int(value // 200))] += 1
    bars = []
    for n, count in enumerate(counts):
        height = 60 * count / max(counts)
        bars.append(f'<rect x="{30 * n + 2}" y="{70 - height:.0f}" width="26" height="{height:.0f}"/>')
        bars.append(f'<text x="{30 * n}" y="86">{n * 200 / 1000:.1f}</text>')
    width = 30 * len(counts) + 10
    label = "Answers by the seconds until their first sound"
    return f'<svg viewBox="0 0 {width} 90" width="{width}" role="img" aria-label="{label}">{"".join(bars)}</svg>'


def _comparison(name: str, rows: Sequence[Comparison]) -> str:
    cells = "".join(
        f"<tr><td>{escape(one.figure)}</td><td>{escape(one.before)}</td><td>{escape(one.now)}</td>"
        f"<td>{escape(one.change)}{' <strong>regression</strong>' if one.regressed else ''}</td></tr>"
        for one in rows
    )
    head = "<tr><th>figure</th><th>before</th><th>now</th><th>change (95 %)</th></tr>"
    return f"<h2>Compared: {escape(name)}</h2><table>{head}{cells}</table>"


def _table(groups: Sequence[Group]) -> str:
    rows = []
    for group in groups:
        passed, number = group.rate
        low, high = wilson(passed, number)
        state = "passed" if group.passed else "failed"
        words = "".join(_attempt(one) for one in group.results)
        missed = "".join(f"<br>{escape(one.kind)}: {escape(one.message)}" for one in group.missed)
        rows.append(
            f'<tr><td class="{state}">{escape(group.name)}<br><small>{escape(group.config)}</small></td>'
            f'<td class="n">{passed} of {number}<br><small>{low:.0%} to {high:.0%}</small></td>'
            f"<td>{words}{missed}</td></tr>"
        )
    return f"<h2>Scenarios</h2><table><tr><th>scenario</th><th>passed</th><th>attempts</th></tr>{''.join(rows)}</table>"


def _attempt(result: Result) -> str:
    state = "passed" if result.passed else "failed"
    latency = ", ".join(f"{value:.0f} ms" for value in result.latencies_ms)
    words = "".join(
        f"<li>{escape(heard or '–')} → {escape(answer or '–')}</li>"
        for heard, answer in zip(result.understood, result.answered, strict=False)
    )
    wrong = "".join(
        f"<li>turn {one.turn + 1}, {escape(one.expected)}{' (opinion)' if one.soft else ''}: "
        f"{escape(one.kind)}: {escape(one.message)} <small>{escape(one.judge)}</small></li>"
        for one in result.verdicts
        if not one.passed
    )
    title = f"attempt {result.attempt}" + (f", {result.variant}" if result.variant else "")
    return (
        f'<details{"" if result.passed else " open"}><summary class="{state}">{escape(title)} {latency}</summary>'
        f"<ol>{words}</ol>{f'<ul>{wrong}</ul>' if wrong else ''}</details>"
    )


def _skipped(results: Sequence[Result]) -> str:
    rows = [f'<li class="skipped">{escape(one.title)}: {escape(one.skipped)}</li>' for one in results if one.skipped]
    return f"<h2>Not played</h2><ul>{''.join(rows)}</ul>" if rows else ""
