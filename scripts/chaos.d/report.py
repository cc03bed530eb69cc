"""What a suite prints: a line a case, a table at the end."""

from collections import defaultdict

HEAD = ("case", "fault", "moment", "outcome", "seconds", "x clean", "rows", "orphans")


def line(case, outcome):
    ratio = case.seconds / case.clean_seconds if case.clean_seconds else 0
    cells = (case.number, case.fault.name, case.moment, outcome, f"{case.seconds:.1f}", f"{ratio:.2f}", f"{case.rows:,}", case.orphans)
    return "{:>4}  {:<24} {:<46} {:<28} {:>7} {:>7} {:>10} {:>7}".format(*(str(cell)[:200] for cell in cells))


def head():
    return "{:>4}  {:<24} {:<46} {:<28} {:>7} {:>7} {:>10} {:>7}".format(*HEAD)


def summary(cases, seed, clean):
    """By fault: how many, how many right, median and largest time against clean."""
    by_fault = defaultdict(list)
    for case, outcome in cases:
        by_fault[case.fault.name].append((case, outcome))
    lines = ["", "| fault | cases | right | by hand | median s | most s | median x clean |", "|---|---|---|---|---|---|---|"]
    for name, found in sorted(by_fault.items()):
        seconds = sorted(case.seconds for case, _ in found)
        right = sum(outcome.startswith("right") for _, outcome in found)
        hand = sum("submitted again" in outcome for _, outcome in found)
        middle = seconds[len(seconds) // 2]
        lines.append(f"| {name} | {len(found)} | {right} | {hand} | {middle:.1f} | {seconds[-1]:.1f} | {middle / clean:.2f} |")
    right = sum(outcome.startswith("right") for _, outcome in cases)
    rows = sum(case.rows for case, _ in cases)
    lines.append("")
    lines.append(f"{right} of {len(cases)} right; clean {clean:.1f} s; {rows:,} rows compared; replay with --seed {seed}")
    return "\n".join(lines)


def wrong(case, outcome, folder, lines=20):
    """A case that did not come right by itself, in full: what was wrong, and the end of each log that was kept."""
    parts = ["", f"case {case.number} (seed {case.seed}), {case.fault.name}, {case.moment}: {outcome}"]
    for log in sorted(folder.glob("*.log")):
        parts += [f"-- the end of {log.name}", *log.read_text(errors="replace").splitlines()[-lines:]]
    return "\n".join(parts)
