"""Which codes of ISO 3166-1 there are, and where the law of the European Union applies. Pure data."""

from __future__ import annotations

from typing import Final

_MEMBERS: Final = """
AT BE BG CY CZ DE DK EE ES FI FR GR HR HU IE IT LT LU LV MT NL PL PT RO SE SI SK
"""
# Parts of members with codes of their own: Treaty on the Functioning of the European Union, Art. 355(1) and 355(4).
_PARTS: Final = "AX GF GP MF MQ RE YT"
# Iceland, Liechtenstein, Norway: the AI Act is marked "Text with EEA relevance", so they are taken to be bound by it.
_EEA: Final = "IS LI NO"
_OTHERS: Final = """
AD AE AF AG AI AL AM AO AQ AR AS AU AW AZ BA BB BD BF BH BI BJ BL BM BN BO BQ BR BS BT BV BW BY BZ CA CC CD CF CG CH CI CK
CL CM CN CO CR CU CV CW CX DJ DM DO DZ EC EG EH ER ET FJ FK FM FO GA GB GD GE GG GH GI GL GM GN GQ GS GT GU GW GY HK HM HN
HT ID IL IM IN IO IQ IR JE JM JO JP KE KG KH KI KM KN KP KR KW KY KZ LA LB LC LK LR LS LY MA MC MD ME MG MH MK ML MM MN MO
MP MR MS MU MV MW MX MY MZ NA NC NE NF NG NI NP NR NU NZ OM PA PE PF PG PH PK PM PN PR PS PW PY QA RS RU RW SA SB SC SD SG
SH SJ SL SM SN SO SR SS ST SV SX SY SZ TC TD TF TG TH TJ TK TL TM TN TO TR TT TV TW TZ UA UG UM US UY UZ VA VC VE VG VI VN
VU WF WS YE ZA ZM ZW
"""

MEMBERS: Final = frozenset(_MEMBERS.split())
EU: Final = MEMBERS | set(_PARTS.split()) | set(_EEA.split()) | {"EU", "EL"}  # the EU writes EL for Greece
KNOWN: Final = EU | set(_OTHERS.split())
