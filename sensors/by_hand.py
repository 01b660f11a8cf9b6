"""Readings that people enter, correct or admit: through the same checks as all others, and they see what is refused."""

import json
from collections.abc import Sequence
from typing import Any

from django.contrib.auth.models import User

from sensors import lookup
from sensors.access import Sender
from sensors.formats import json as json_format
from sensors.ingest import OnConflict, Stored, store_attended


def send(
    rows: Sequence[dict[str, Any]],
    *,
    source: str,
    by: User,
    site_id: int | None,
    discover: bool = False,
    on_conflict: OnConflict = "keep",
) -> Stored:
    """Store readings that have the fields of the JSON format; `rejected` tells by index which were refused.

    Keys mean sensors of the given site; unknown ones are created only where `discover` says so.
    """
    lookup.forget()  # The sensor may have been created or changed a moment ago, for these rows' sake.
    columns = json_format.parse(json.dumps(rows).encode())
    sender = Sender(user=by, site_id=site_id, discovers=discover)
    return store_attended(columns, source=source, sender=sender, on_conflict=on_conflict)
