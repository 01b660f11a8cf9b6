from typing import Any

from django.db.models import CompositePrimaryKey, Model
from timescale.db.backends.postgresql.base import DatabaseWrapper as TimescaleWrapper
from timescale.db.backends.postgresql.schema import TimescaleSchemaEditor


class SchemaEditor(TimescaleSchemaEditor):  # type: ignore[misc]
    """Makes hypertables only where TimescaleDB is installed, and leaves their composite primary key in place."""

    def _create_hypertable(self, model: type[Model], field: Any, should_migrate: bool = False) -> None:
        if self.connection.has_timescale():
            super()._create_hypertable(model, field, should_migrate)

    def _set_chunk_time_interval(self, model: type[Model], field: Any) -> None:
        if self.connection.has_timescale():
            super()._set_chunk_time_interval(model, field)

    def _drop_primary_key(self, model: type[Model]) -> None:
        # A key that contains the partition column may stay, and must: it is what makes duplicates impossible.
        if not isinstance(model._meta.pk, CompositePrimaryKey):
            super()._drop_primary_key(model)


class DatabaseWrapper(TimescaleWrapper):  # type: ignore[misc]
    SchemaEditorClass = SchemaEditor

    def prepare_database(self) -> None:
        with self.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM pg_available_extensions WHERE name = 'timescaledb'")
            if cursor.fetchone()[0]:
                super().prepare_database()

    def has_timescale(self) -> bool:
        return self._licence() is not None

    def has_timescale_community(self) -> bool:
        """Whether continuous aggregates and compression are there: the Apache edition of TimescaleDB lacks both."""
        return self._licence() == "timescale"

    def _licence(self) -> str | None:
        with self.cursor() as cursor:
            cursor.execute(
                """SELECT coalesce(current_setting('timescaledb.license', true), 'apache')
                FROM pg_extension WHERE extname = 'timescaledb'"""
            )
            row = cursor.fetchone()
        return row[0] if row else None
