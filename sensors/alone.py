"""Work that one worker does at a time; another one that comes meanwhile has nothing to do."""

from django.db import connection


def alone(work: str) -> bool:
    """True for who may do `work` until the present transaction ends, False while somebody else is at it.

    The lock is PostgreSQL's own, so it goes with its transaction, however that ends.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_xact_lock(hashtextextended(%s, 0))", [work])
        return bool(cursor.fetchone()[0])
