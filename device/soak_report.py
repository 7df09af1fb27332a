"""From the lines of a soak run to its report, as JSON and as text. Pure.

====================  =====================================================================================================
line                  what it holds
====================  =====================================================================================================
``{"begin": …}``      the first: camera, seconds planned, software
``{"at": …}``         a sample: seconds since the beginning, what each process holds, reports made and arrived, latencies so far
``{"end": …}``        the last: seconds, reports made, arrived, lost and arrived twice, all latencies, how each process ended
====================  =====================================================================================================

A run that was cut off has no last line; what it measured until then is reported all the same, and its losses are unknown.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from device.latency import Latencies
from device.soak import LIMIT_DESCRIPTORS, LIMIT_MEMORY, LIMIT_RATIO, Slope, blocks, slope, warm_up

PROCESSES: Final = ("watch", "send")
Line = Mapping[str, Any]


def points(lines: Sequence[Line], process: str, what: str) -> list[tuple[float, float]]:
    """Seconds and value of one figure of a process, of the samples that have it."""
    found = []
    for line in lines:
        held = line.get(process) or {}
        value = held.get(what)
        if "at" in line and value is not None:
            found.append((line["at"], value))
    return found


def settled(found: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Without the time in which a process gets going."""
    after = warm_up(found[-1][0]) if found else 0.0
    return [(at, value) for at, value in found if at >= after]


def report(lines: Sequence[Line]) -> dict[str, Any]:
    """What the run found.

    Args:
        lines: Of its log, in order; see above.

    Returns:
        The report; ``broken`` says in words which limits are, ``unknown`` what the run was too short to tell.
    """
    begin: dict[str, Any] = next((line["begin"] for line in lines if "begin" in line), {})
    end = next((line["end"] for line in lines if "end" in line), None)
    samples = [line for line in lines if "at" in line]
    seconds = end["seconds"] if end else samples[-1]["at"] if samples else 0.0
    latest = (end or {}).get("latency") or next((line["latency"] for line in reversed(samples) if line.get("latency")), None)
    found: dict[str, Any] = {
        **begin,
        "complete": end is not None,
        "why": end["why"] if end else "cut off",
        "seconds": round(seconds, 1),
        "samples": len(samples),
        "warm_up_seconds": round(warm_up(samples[-1]["at"]) if samples else 0.0, 1),
        "processes": {name: _process(samples, name) for name in PROCESSES},
        "latency_ms": _latency(Latencies(latest)),
        "reports": {name: end[name] for name in ("made", "arrived", "lost", "twice")} if end else None,
    }
    found["broken"] = _broken(found, end)
    found["unknown"] = _unknown(found)
    return found


def text(found: Mapping[str, Any]) -> str:
    """The report for a person."""
    lines = [f"{found['seconds'] / 3600:.2f} h with camera {found.get('camera', '?')}, {found['samples']} samples: {found['why']}"]
    for name, one in found["processes"].items():
        for what, unit in (("memory", "MiB"), ("descriptors", "")):
            if (held := one[what]) is None:
                lines.append(f"  {name:<6} {what:<12} not told: run it as root")
                continue
            change = f"{held['first']:g} → {held['last']:g} {unit}".strip()
            lines.append(f"  {name:<6} {what:<12} {change:<22} {_per_day(held)}")
        lines.append(f"  {name:<6} {'threads':<12} {one['threads']['first']} → {one['threads']['last']}")
        lines.append(f"  {name:<6} {'processor':<12} {100 * one['processor']:.1f} % of one core")
    if (took := found["latency_ms"])["frames"]:
        words = f"p50 {took['p50']:.1f} ms, p95 {took['p95']:.1f} ms, p99 {took['p99']:.1f} ms ({took['ratio']:.2f} × median)"
        lines.append(f"  frames {took['frames']:<12} {words}")
    if (said := found["reports"]) is not None:
        counted = f"{said['made']} made, {said['arrived']} arrived, {len(said['lost'])} lost, {said['twice']} twice"
        lines.append(f"  reports {counted}")
    lines += [f"broken: {one}" for one in found["broken"]]
    lines += [f"unknown: {one}" for one in found["unknown"]]
    return "\n".join(lines if found["broken"] or found["unknown"] else [*lines, "everything within its limits"])


def _process(samples: Sequence[Line], name: str) -> dict[str, Any]:
    threads = points(samples, name, "threads")
    time = points(samples, name, "processor")
    passed = time[-1][0] - time[0][0] if time else 0.0
    return {
        "memory": _held(points(samples, name, "rss"), LIMIT_MEMORY),
        "descriptors": _held(points(samples, name, "descriptors"), LIMIT_DESCRIPTORS),
        "threads": {"first": int(threads[0][1]) if threads else 0, "last": int(threads[-1][1]) if threads else 0},
        "processor": round((time[-1][1] - time[0][1]) / passed, 3) if passed else 0.0,
    }


def _held(found: Sequence[tuple[float, float]], limit: float) -> dict[str, Any] | None:
    if not found:
        return None
    steady = settled(found)
    line: Slope | None = slope(steady)
    parts = blocks(steady) or steady
    fitted = {"per_day": round(line.per_day, 2), "interval_95": [round(line.low, 2), round(line.high, 2)]} if line else None
    return {
        "first": round(parts[0][1], 2),
        "last": round(parts[-1][1], 2),
        "peak": round(max(value for _, value in found), 2),
        "slope": fitted,
        "verdict": line.verdict(limit) if line else "too short to tell",
    }


def _latency(latencies: Latencies) -> dict[str, Any]:
    quantiles = {f"p{percent}": latencies.quantile(percent / 100) for percent in (50, 95, 99)}
    found: dict[str, Any] = {"frames": len(latencies)}
    found |= {name: None if value is None else round(1000 * value, 2) for name, value in quantiles.items()}
    median, high = quantiles["p50"], quantiles["p99"]
    return {**found, "ratio": round(high / median, 2) if median and high else None}


def _broken(found: Mapping[str, Any], end: Line | None) -> list[str]:
    said = []
    for name, one in found["processes"].items():
        for what, limit, unit in (("memory", LIMIT_MEMORY, "MiB"), ("descriptors", LIMIT_DESCRIPTORS, "descriptors")):
            held = one[what]
            if held and held["verdict"] == "too large":
                said.append(f"{what} of {name}: {_per_day(held)}; expected less than {limit:g} {unit} a day")
    ratio = found["latency_ms"]["ratio"]
    if ratio is not None and ratio >= LIMIT_RATIO:
        said.append(f"the slowest frames of a hundred take {ratio:.2f} times the median; expected less than {LIMIT_RATIO:g}")
    if end is None:
        return said
    if end["lost"]:
        said.append(f"{len(end['lost'])} reports were lost, the first of them number {end['lost'][0]}")
    return [*said, *(f"mien {name} ended with {code}" for name, code in sorted(end["exits"].items()) if code)]


def _unknown(found: Mapping[str, Any]) -> list[str]:
    said = []
    for name, one in found["processes"].items():
        for what in ("memory", "descriptors"):
            held = one[what]
            if held is None:
                said.append(f"{what} of {name}: the kernel does not tell them; run it as root")
            elif held["verdict"] == "too short to tell":
                said.append(f"{what} of {name}: {_per_day(held)}; run it for longer")
    if not found["latency_ms"]["frames"]:
        said.append("how long frames take: none was read")
    return [*said, *(() if found["complete"] else ("losses: the run was cut off",))]


def _per_day(held: Mapping[str, Any]) -> str:
    if held["slope"] is None:
        return "too few samples for a slope"
    low, high = held["slope"]["interval_95"]
    return f"{held['slope']['per_day']:+.2f} a day (95 %: {low:+.2f} to {high:+.2f})"
