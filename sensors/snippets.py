"""Ready-to-paste programs that send one reading of one sensor, with its real key and unit."""

from dataclasses import dataclass
from urllib.parse import urlsplit

from django.conf import settings

from sensors.formats import as_sensor_id
from sensors.models import Sensor


@dataclass(frozen=True)
class Snippet:
    """`note` says what is to be done around it."""

    name: str
    text: str
    note: str = ""


def for_sensor(sensor: Sensor, base: str, value: float) -> list[Snippet]:
    """The ways into the installation at `base` (scheme and host, no slash at the end), with a plausible `value`."""
    example = f"{value:.4g}"
    return [
        Snippet("curl", _curl(sensor, base, example), "In a shell. What it answers says what was stored, or why not."),
        Snippet("Python", _python(sensor, base, example), "Needs the package requests."),
        Snippet(
            "Telegraf",
            _telegraf(sensor, base, example),
            "Lines for telegraf.conf. Replace the input by your own; the two tags tell which sensor and unit it is.",
        ),
        Snippet("MQTT", _mqtt(sensor, base, example), _mqtt_note()),
    ]


def _unit(sensor: Sensor) -> str:
    return "" if sensor.unit == "1" else f', "unit": "{sensor.unit}"'


def _curl(sensor: Sensor, base: str, value: str) -> str:
    return f"""\
curl {base}/api/v1/readings/ \\
    -H "X-API-Key: $SM_KEY" -H "Content-Type: application/json" \\
    -d '[{{"sensor_id": "{sensor.sensor_id}", "value": {value}{_unit(sensor)},
          "timestamp": "'$(date -u +%Y-%m-%dT%H:%M:%SZ)'"}}]'
"""


def _python(sensor: Sensor, base: str, value: str) -> str:
    return f"""\
import os
from datetime import datetime, timezone

import requests

reading = {{
    "sensor_id": "{sensor.sensor_id}",
    "timestamp": datetime.now(timezone.utc).isoformat(),
    "value": {value}{_unit(sensor)},
}}
answer = requests.post(
    "{base}/api/v1/readings/",
    headers={{"X-API-Key": os.environ["SM_KEY"]}},
    json=[reading],
    timeout=10,
)
print(answer.status_code, answer.json())
"""


def _telegraf(sensor: Sensor, base: str, value: str) -> str:
    unit = "" if sensor.unit == "1" else f'\n    unit = "{sensor.unit}"'
    return f"""\
[[inputs.exec]]
  commands = ["echo {value}"]
  data_format = "value"
  data_type = "float"
  name_override = "plant"
  [inputs.exec.tags]
    sensor_id = "{sensor.sensor_id}"{unit}

[[outputs.influxdb_v2]]
  urls = ["{base}"]
  token = "${{SM_KEY}}"
  organization = "-"
  bucket = "-"
"""


def _mqtt(sensor: Sensor, base: str, value: str) -> str:
    host = urlsplit(settings.MQTT_URL).hostname or urlsplit(base).hostname
    # The message names the sensor itself: not every key can be written as a topic.
    return f"""\
mosquitto_pub -h {host} -q 1 -t '{_topic(sensor)}' \\
    -m '{{"sensor_id": "{sensor.sensor_id}", "value": {value}{_unit(sensor)}}}'
"""


def _topic(sensor: Sensor) -> str:
    """One that the bridge listens to, with this sensor's key and site in it."""
    key, site = as_sensor_id(sensor.sensor_id.replace("/", ".")), as_sensor_id(sensor.site.name)
    names = {"{sensor}": key, "{sensor...}": key, "#": key, "{site}": site, "+": "any"}
    return "/".join(names.get(level, level) for level in settings.MQTT_TOPICS[0].split("/"))


def _mqtt_note() -> str:
    if settings.MQTT_URL:
        return "The value counts as measured when the message comes, unless it has a timestamp."
    return "The MQTT bridge is off here: an administrator sets MQTT_URL and MQTT_TOPICS first."
