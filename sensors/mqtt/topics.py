"""Which topics are listened to, and what they say about the sensor.

In a template `{sensor}` stands for one level and `{sensor...}` at the end for all further ones, which are joined by
dots; `{site}` is the name of a site, `+` any level. A template without `{sensor}` leaves it to the message or, where
it ends in `#`, takes what the `#` stands for.

    plant/{site}/{sensor}     plant/North/p101.temperature -> sensor p101.temperature of site North
    factory/+/{sensor...}     factory/gw1/line2/p7/temp    -> sensor line2.p7.temp
"""

import re
from dataclasses import dataclass

from sensors.formats import as_sensor_id

_LEVEL = {"+": "[^/]*", "{site}": "(?P<site>[^/]+)", "{sensor}": "(?P<sensor>[^/]+)"}
_REST = ("#", "{sensor...}")


@dataclass(frozen=True)
class Place:
    """What a topic says: "" where it says nothing."""

    sensor_id: str = ""
    site: str = ""


@dataclass(frozen=True)
class Template:
    """`filter` is what the broker is asked for, `pattern` takes the topics apart."""

    text: str
    filter: str
    pattern: re.Pattern[str]

    @classmethod
    def parse(cls, text: str) -> "Template":
        """Raises ValueError when it is no template.

        >>> Template.parse("plant/{site}/{sensor...}").filter
        'plant/+/#'
        """
        levels = text.split("/")
        filters, patterns = [], []
        for number, level in enumerate(levels):
            if level in _REST and number == len(levels) - 1:
                filters.append("#")
                patterns.append("(?P<sensor>.+)" if "{sensor}" not in levels else ".*")
            elif level in _LEVEL:
                filters.append("+")
                patterns.append(_LEVEL[level])
            elif re.search(r"[{}+#]", level):
                allowed = "a level is a name, +, {site}, {sensor} or, at the end, {sensor...} or #"
                raise ValueError(f"{level!r} in {text!r}: {allowed}")
            else:
                filters.append(level)
                patterns.append(re.escape(level))
        if not text or levels.count("{sensor}") > 1 or levels.count("{site}") > 1:
            raise ValueError(f"{text!r}: a topic names the sensor once, and the site once")
        return cls(text, "/".join(filters), re.compile("/".join(patterns) + r"\Z", re.DOTALL))

    def place(self, topic: str) -> Place | None:
        """What the topic says, None when it is not of this template.

        >>> Template.parse("plant/{site}/{sensor...}").place("plant/North/line 2/temp")
        Place(sensor_id='line_2.temp', site='North')
        """
        found = self.pattern.match(topic)
        if found is None:
            return None
        named = found.groupdict()
        return Place(as_sensor_id((named.get("sensor") or "").replace("/", ".")), named.get("site") or "")
