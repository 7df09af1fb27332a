"""The notice to print: A4 pages with a QR code (segno) and the cards, in one file that loads nothing from anywhere."""

from __future__ import annotations

from html import escape
from typing import Final

import segno

from device import notice
from device.nets.cards import CONSENT, MODULES, NO_THANKS, pattern
from device.settings import Settings
from device.settings_policy import Language

STYLE: Final = """
@page { size: A4; margin: 14mm 11mm }
* { box-sizing: border-box }
body { font: 11pt/1.35 system-ui, "DejaVu Sans", Arial, sans-serif; color: #111; background: #fff; max-width: 188mm;
  margin: 8mm auto; padding: 0 2mm }
h1 { font-size: 23pt; line-height: 1.15; margin: 0 0 5mm }
p { margin: 0 0 2.4mm }
.qr { float: right; width: 36mm; margin: 0 0 4mm 6mm }
.qr svg { display: block; width: 36mm; height: 36mm }
.card { break-before: page; page-break-before: always; margin: 12mm auto 0; text-align: center }
.cut { width: 188mm; margin: 0 auto; padding: 0 0 5mm; border: 0.3mm dashed #777 }
.cut svg { display: block; margin: 0 auto }
.cut h2 { font-size: 30pt; margin: 0 0 1mm }
.cut p { font-size: 14pt; margin: 0 }
.help { margin: 8mm auto 0; max-width: 150mm; color: #333; font-size: 11pt }
@media print { body { margin: 0; padding: 0; max-width: none } .card { margin-top: 4mm } }
"""


def html(settings: Settings, language: Language) -> str:
    """The whole notice as one HTML page. Raises as ``notice.paragraphs`` does."""
    title, *rest = notice.paragraphs(settings, language)
    phrases, values = notice.words(language), notice.values(settings, language)
    cards = [("no_thanks", NO_THANKS)]
    if settings.consent.mode == "opt-in" and settings.consent.input == "card":
        cards.append(("consent", CONSENT))
    pages = "\n".join(
        f"""<section class="card"><div class="cut">{marker_svg(marker)}
<h2>{escape(phrases[key])}</h2><p>{escape(phrases[f"{key}_help"])}</p></div>
<p class="help">{escape(phrases["print_help"].format(**values))}</p></section>"""
        for key, marker in cards
    )
    return f"""<!DOCTYPE html>
<html lang="{language}">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>{escape(title)}</title>
<style>{STYLE}</style>
</head>
<body>
<h1>{escape(title)}</h1>
<div class="qr">{_qr(settings, title, values)}</div>
{"".join(f"<p>{escape(line)}</p>" + chr(10) for line in rest)}{pages}
</body>
</html>
"""


def marker_svg(marker: int) -> str:
    """A marker with its white margin of one cell, so large that the black square is ``notice.MARKER_CM`` wide."""
    side = notice.MARKER_CM * 10 / MODULES * (MODULES + 2)
    cells = "".join(
        f'<rect x="{x + 1}" y="{y + 1}" width="1" height="1"/>'
        for y, row in enumerate(pattern(marker))
        for x, black in enumerate(row)
        if black
    )
    size = MODULES + 2
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{side:.9g}mm" height="{side:.9g}mm" viewBox="0 0 {size} {size}" '
        f'role="img" aria-label="ArUco {marker}" shape-rendering="crispEdges">'
        f'<rect width="{size}" height="{size}" fill="#fff"/>{cells}</svg>'
    )


def _qr(settings: Settings, title: str, values: dict[str, str]) -> str:
    """The address where more can be read; without one, who is responsible and how to reach them."""
    content = settings.notice.url or f"{title} {values['responsible']}. {values['contact']}"
    return str(segno.make(content, error="m", micro=False).svg_inline(border=2, omitsize=True))
