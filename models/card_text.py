"""What the emotion model's card says in figures: Markdown made from what ``models.card`` has measured."""

from __future__ import annotations

import platform
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from device.contract import EMOTIONS
from device.manifest import Entry, PointName
from models import measures
from models.data import DataError
from models.degrade import Kind
from models.measures import Labels, Probabilities

BEGIN: Final = "<!-- measured: written by python -m models.card, not by hand -->"
END: Final = "<!-- end of what is measured -->"
POINTS: Final[tuple[PointName, ...]] = ("single", "count")
CONTEMPT: Final = EMOTIONS.index("contempt")
SUREST: Final = (1.0, 0.95, 0.9, 0.85, 0.8, 0.7, 0.6, 0.5)  # shares of the rows
WORDS: Final = {None: "clean", "small": "small, 32 px", "rotate": "rotate, ±20°"}


@dataclass(frozen=True, slots=True)
class Read:
    """Labelled rows and what the network says about them, at temperature 1 without offsets."""

    probabilities: Probabilities
    labels: Labels
    aligned: int  # how many rows the detector found a face in

    def at(self, entry: Entry, name: PointName) -> Probabilities:
        """The same at an operating point."""
        point = entry.point(name)
        return measures.tempered(self.probabilities, point.temperature, point.offsets)


@dataclass(frozen=True, slots=True)
class Found:
    """Everything that the card says in figures."""

    entry: Entry
    size: int  # of the file, bytes
    multiply_adds: int
    speed: tuple[str, float, float]  # runtime; milliseconds of the bare network; with cropping
    valid: dict[Kind | None, Read]
    images: npt.NDArray[np.uint8]  # [N, 48, 48]: the rows of valid
    held: Read
    shares: dict[int, dict[str, float]]  # by size of the samples
    photos: dict[str, Any] | None


def between_marks(card: Path, figures: str) -> str:
    """The text of a card with new figures between its marks.

    Raises:
        DataError: The card is missing or lacks the marks.
    """
    try:
        text = card.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{card}: cannot read the card ({error}); give one with the two marks of models/emotion.md") from error
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise DataError(f"{card}: it lacks the marks {BEGIN!r} and {END!r}; put them where the figures belong")
    return f"{before}{BEGIN}\n\n{figures}\n{END}{after}"


def figures(found: Found, plot: str) -> str:
    """All tables, one after the other; ``plot`` is where the picture is, as the card links to it."""
    parts = [
        *(_file(found), _accuracy(found), _emotions(found), _confusion(found), _reliability(plot), _shares(found)),
        *(_surest(found), _degraded(found), _light(found), *([figures_of_photos(found.photos)] if found.photos else [])),
    ]
    return "\n".join(f"{part}\n" for part in parts)


def table(heads: list[str], rows: list[list[str]]) -> str:
    """A Markdown table."""
    return "\n".join(f"| {' | '.join(row)} |" for row in (heads, ["---"] * len(heads), *rows))


def percent(value: float | None, digits: int = 1) -> str:
    """12.3 %, or a dash for what cannot be said."""
    return "–" if value is None or np.isnan(value) else f"{100 * value:.{digits}f} %"


def _within(ends: tuple[float, float]) -> str:
    return f"({100 * ends[0]:.1f}–{100 * ends[1]:.1f})"


def _macro(matrix: npt.NDArray[np.int64]) -> str:
    low, high = measures.macro_interval(matrix, CONTEMPT)
    return f"{measures.macro_recall(matrix, CONTEMPT):.3f} ({low:.3f}–{high:.3f})"


def _share(hits: int, rows: int, digits: int = 1) -> str:
    return f"{percent(hits / rows, digits)} {_within(measures.wilson(hits, rows))}" if rows else "–"


def _file(found: Found) -> str:
    entry, points = found.entry, found.entry.points
    runtime, bare, whole = found.speed
    form, sizes = entry.quantization, entry.shapes
    rows = [["file", f"`{entry.file}`, {found.size:,} bytes, SHA-256 `{entry.sha256}`"]]
    rows.append(["arithmetic", f"{found.multiply_adds / 1e6:.2f} million multiply-adds (counted in the file's graph)"])
    if form and sizes:
        weights = f"{form.weights} (weights)"
        for side, numbers, shapes in (("in", form.inputs, sizes.inputs), ("out", form.outputs, sizes.outputs)):
            (held,), (shape,) = numbers, shapes
            scale = f", scale {held.scale:.6g}, zero point {held.zero_point}" if held.scale else ""
            rows.append([side, f"`{held.dtype}[{', '.join(map(str, shape))}]`{scale}"])
        rows.insert(2, ["quantization", weights])
    if points:
        rows.append(["temperature", f"{points.single.temperature}, at both points"])
        rows.append(
            ["unknown", f"highest value below {points.single.unknown_below} at `single`, {points.count.unknown_below} at `count`"]
        )
    if lost := entry.exported:
        before, after = lost.accuracy_float, lost.accuracy_int8
        said = f"float {percent(before, 2)}, int8 {percent(after, 2)} right of {lost.rows:,} held-out rows"
        rows.append(["what int8 costs", f"{said}: {100 * (before - after):.2f} points"])
    rows.append(
        [
            "time of one face",
            f"{bare:.2f} ms bare, {whole:.2f} ms with cropping; {runtime}, one thread of this {platform.machine()} machine",
        ]
    )
    return table(["the file", ""], rows)


def _accuracy(found: Found) -> str:
    rows = []
    for where, read in (("FER+ valid (PublicTest)", found.valid[None]), ("held-out tenth of the training rows", found.held)):
        for name in POINTS:
            probabilities = read.at(found.entry, name)
            matrix = measures.confusion(probabilities, read.labels)
            kept = probabilities.max(axis=1) >= found.entry.point(name).unknown_below
            right = probabilities.argmax(axis=1) == read.labels
            rows.append(
                [
                    *(where, f"`{name}`", _share(int(right.sum()), len(right), 2)),
                    *(f"{measures.macro_recall(matrix):.3f}", _macro(matrix)),
                    f"{measures.calibration_error(probabilities, read.labels):.3f}",
                    *(percent(1 - float(kept.mean())), percent(float(right[kept].mean()) if kept.any() else None)),
                    percent(measures.accuracy_of_surest(probabilities, read.labels)),
                ]
            )
    heads = ["measured on", "at point", "accuracy", "macro recall", "without contempt", "calibration error"]
    clean, held = found.valid[None], found.held
    said = (
        "In brackets, here and below: 95 % intervals (Wilson; macro recall: from its Beta posteriors). Valid "
        f"has {len(clean.labels):,} labelled rows, in {clean.aligned:,} the detector found a face to align; the held-out tenth has "
        f"{len(held.labels):,} and flatters: model, temperature and points were chosen on it.\n\n"
    )
    return said + table([*heads, "unknown", "accuracy on the others", "on the surest 85 %"], rows)


def _emotions(found: Found) -> str:
    clean = found.valid[None]
    matrices = [measures.confusion(clean.at(found.entry, name), clean.labels) for name in POINTS]
    rows = []
    for k, name in enumerate(EMOTIONS):
        cells = [name, str(int(matrices[0][k].sum()))]
        for matrix in matrices:
            others = np.where(np.arange(len(EMOTIONS)) == k, 0, matrix[k])
            most = int(others.argmax())
            cells += [
                _share(int(matrix[k, k]), int(matrix[k].sum())),
                f"{EMOTIONS[most]} ({others[most]})" if others[most] else "–",
            ]
        rows.append(cells)
    said = "Valid, per emotion: rows with that label, how many are recognised, and what the others are taken for most.\n\n"
    return said + table(["emotion", "rows", "recall, `single`", "most taken for", "recall, `count`", "most taken for"], rows)


def _confusion(found: Found) -> str:
    clean, entry = found.valid[None], found.entry
    tables = []
    for name in POINTS:
        cells = measures.counted(clean.at(entry, name), entry.point(name).unknown_below)
        matrix = measures.counted_matrix(cells, clean.labels, len(EMOTIONS))
        rows = [
            [label, *(f"**{n}**" if k == j else str(n) for j, n in enumerate(row))]
            for k, (label, row) in enumerate(zip(EMOTIONS, matrix.tolist(), strict=True))
        ]
        tables.append(
            f"Confusion on valid at point `{name}`: labels in rows, what the device says in columns.\n\n"
            + table(["", *EMOTIONS, "unknown"], rows)
        )
    return "\n\n".join(tables)


def _reliability(plot: str) -> str:
    return (
        f"![How often it is right, by how sure it is, at both points]({plot})\n\n"
        f"Valid, {measures.BINS} bins: the nearer to the dashed line, the more a probability means what it says. Point `count` "
        "speaks of a world in which all emotions are equally common, and cannot be calibrated on rows where they are not."
    )


def _shares(found: Found) -> str:
    rows = [
        [str(size), *(f"{f[key]:.4f}" for key in ("mae_counted", "mae_corrected")), percent(f["coverage_90"])]
        for size, f in found.shares.items()
    ]
    matrix = found.entry.confusion or ()
    few = {name: sum(row) for name, row in zip(EMOTIONS, matrix, strict=True) if sum(row) < 30} if matrix else {}
    known = ", ".join(f"{name} from {rows_} faces" for name, rows_ in few.items())
    return (
        "**Shares.** What a report is worth: valid, samples with random true shares of the seven emotions without contempt, "
        "counted at point `count`, corrected with the matrix of the held-out tenth. Mean error of one emotion's share:\n\n"
        + table(["faces in a sample", "counted", "corrected", "true share inside its 90 % interval"], rows)
        + (f"\n\nThe matrix knows {known}: a correction cannot be better than that." if known else "")
    )


def _surest(found: Found) -> str:
    clean, rows = found.valid[None], []
    for share in SUREST:
        cells = [percent(share, 0)]
        for name in POINTS:
            probabilities = clean.at(found.entry, name)
            sure = np.sort(probabilities.max(axis=1))[::-1]
            count = max(1, round(share * len(sure)))
            cells += [percent(measures.accuracy_of_surest(probabilities, clean.labels, share)), f"{sure[count - 1]:.2f}"]
        rows.append(cells)
    said = "Valid, when only the surest readings are kept: their accuracy, and the lowest probability among them.\n\n"
    return said + table(["kept", "accuracy, `single`", "from", "accuracy, `count`", "from"], rows)


def _degraded(found: Found) -> str:
    point, rows = found.entry.point("single"), []
    clean = measures.accuracy(found.valid[None].at(found.entry, "single"), found.valid[None].labels)
    for kind, read in found.valid.items():
        probabilities = read.at(found.entry, "single")
        right = int((probabilities.argmax(axis=1) == read.labels).sum())
        matrix = measures.confusion(probabilities, read.labels)
        unknown = float((probabilities.max(axis=1) < point.unknown_below).mean())
        error = measures.calibration_error(probabilities, read.labels)
        lost = "" if kind is None else f"{100 * (right / len(read.labels) - clean):+.1f}".replace("-", "−")
        rows.append(
            [
                WORDS.get(kind, str(kind)),
                _share(right, len(read.labels)),
                lost,
                _macro(matrix),
                percent(unknown),
                f"{error:.3f}",
            ]
        )
    said = "**Worse pictures.** Valid at point `single`, `--degrade` (strengths in the [README](README.md)).\n\n"
    return said + table(["pictures", "accuracy", "points", "macro recall without contempt", "unknown", "calibration error"], rows)


def _light(found: Found) -> str:
    clean = found.valid[None]
    probabilities = clean.at(found.entry, "single")
    right, sure = probabilities.argmax(axis=1) == clean.labels, probabilities.max(axis=1)
    levels = found.images.reshape(len(found.images), -1)
    rows = []
    for what, values in (("brightness", levels.mean(axis=1)), ("contrast", levels.std(axis=1))):
        for part in np.array_split(np.argsort(values, kind="stable"), 5):
            if len(part):
                unknown = float((sure[part] < found.entry.point("single").unknown_below).mean())
                span = f"{what} {values[part[0]]:.0f}–{values[part[-1]]:.0f}"
                rows.append(
                    [
                        span,
                        str(len(part)),
                        _share(int(right[part].sum()), len(part)),
                        percent(float(sure[part].mean())),
                        percent(unknown),
                    ]
                )
    said = "**Light.** Valid at point `single`, in fifths by the mean level of the image (0 to 255) and by its deviation.\n\n"
    return said + table(["fifth", "rows", "accuracy", "mean probability of the answer", "unknown"], rows)


def figures_of_photos(photos: dict[str, Any]) -> str:
    rows = [[name, percent(value)] for name, value in photos["recall"].items()]
    right = round(photos["accuracy"] * photos["n"])
    said = f"**Whole photos.** {photos['n']} photos at point `single`, no face found in {photos['missed']}; right: "
    said += f"{_share(right, photos['n'])}.\n\n"
    return said + table(["emotion", "recall"], rows)
