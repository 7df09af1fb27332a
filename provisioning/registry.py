"""The registry: a database that several processes share, of which any may die at any time.

Each decision is one transaction: facts are read, and what follows from them is written, as if nobody else were there (SQLite: one
writer at a time; PostgreSQL: serializable). A transaction that loses against another one is done again from the beginning.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from sqlalchemy import Engine, create_engine, delete, event, exists, make_url, select, text
from sqlalchemy.exc import ArgumentError, DBAPIError, IntegrityError, NoSuchModuleError, OperationalError
from sqlalchemy.orm import Session

from provisioning.errors import FleetError
from provisioning.tables import AuditRow, SerialRow

if TYPE_CHECKING:
    from alembic.config import Config

T = TypeVar("T")

TRIES: Final = 20  # PostgreSQL ends transactions that might disturb each other, also some that would not
LONGEST_PAUSE: Final = 0.5  # seconds between two tries
MALFORMED: Final = "malformed"  # how steps end that are no message of the contract
BUSY_SECONDS: Final = 30  # for another process's transaction
MIGRATIONS: Final = Path(__file__).with_name("migrations")
MIGRATING: Final = 0x6D69656E  # an advisory lock: one process migrates, the others wait


class RegistryError(FleetError):
    """The database cannot be used."""

    exit_code = 69


@dataclass(frozen=True, slots=True)
class Entry:
    """A line of the audit log. ``name`` is who it was about or by: a claim, a device, or ``manager``."""

    step: str
    name: str
    code: str
    message: str = ""
    key: str | None = None
    serial: str | None = None
    device: str | None = None
    retry_after_s: int = 0


class Registry:
    """An open database.

    Args:
        engine: From ``Registry.open``.
        clock: Seconds since 1970.
    """

    def __init__(self, engine: Engine, clock: Callable[[], float] = time.time) -> None:
        self.engine = engine
        self._clock = clock

    @classmethod
    def open(cls, url: str, clock: Callable[[], float] = time.time) -> Registry:
        """Connect, and bring the tables up to date.

        Args:
            url: ``sqlite:////folder/registry.db`` or ``postgresql+psycopg://user@host/database``.
            clock: Seconds since 1970.

        Raises:
            RegistryError: It is not a URL of one of these, cannot be reached, or is newer than this program.
        """
        try:
            parsed = make_url(url)
            if parsed.get_backend_name() == "postgresql":
                parsed = parsed.set(drivername="postgresql+psycopg")
                engine = create_engine(parsed, isolation_level="SERIALIZABLE", pool_pre_ping=True)
            elif parsed.get_backend_name() == "sqlite" and parsed.database:
                engine = create_engine(parsed, connect_args={"timeout": BUSY_SECONDS, "check_same_thread": False})
                event.listen(engine, "connect", _sqlite_connected)
                event.listen(engine, "begin", _sqlite_begins)
            else:
                raise ArgumentError
        except (ArgumentError, NoSuchModuleError, ValueError):
            raise RegistryError(
                f"{_without_password(url)}: not a database that can be used; expected sqlite:////folder/registry.db or "
                "postgresql://user@host/database"
            ) from None
        except ModuleNotFoundError as error:
            raise RegistryError(f"{_without_password(url)}: needs {error.name}; run pip install 'mien[fleet]'") from None
        registry = cls(engine, clock)
        try:
            if not registry._is_current():
                registry._migrate()
        except RegistryError:
            registry.close()
            raise
        return registry

    def _is_current(self) -> bool:
        """Whether there is nothing to migrate, found out without alembic, which takes longer to load than most commands to run."""
        newest = max(one.name for one in (MIGRATIONS / "versions").glob("[0-9]*.py")).partition("_")[0]
        try:
            with self.engine.connect() as connection:
                return connection.execute(text("SELECT version_num FROM alembic_version")).scalar() == newest
        except DBAPIError:
            return False  # no tables yet, or no database: migrating says which

    def _migrate(self) -> None:
        from alembic import command
        from alembic.script import ScriptDirectory
        from alembic.util.exc import CommandError

        config = alembic_config()
        server = self.engine.dialect.name == "postgresql"  # whoever had to wait must see what the others have made
        engine = self.engine.execution_options(isolation_level="READ COMMITTED") if server else self.engine
        try:
            with engine.begin() as connection:
                if server:
                    connection.execute(text(f"SELECT pg_advisory_xact_lock({MIGRATING})"))
                config.attributes["connection"] = connection
                command.upgrade(config, "head")
        except DBAPIError as error:
            raise self._failed(error) from None
        except CommandError as error:
            newest = ScriptDirectory.from_config(config).get_current_head()
            raise RegistryError(
                f"{self}: made by a newer mien-fleet than this ({error}; this one knows {newest}); update it"
            ) from None

    def __str__(self) -> str:
        return self.engine.url.render_as_string(hide_password=True)

    def close(self) -> None:
        self.engine.dispose()

    def now(self) -> int:
        """Seconds since 1970."""
        return int(self._clock())

    def transact(self, work: Callable[[Session], T]) -> T:
        """Do ``work`` as one transaction; it may be called several times, and only its last result counts.

        Raises:
            RegistryError: The database cannot be reached, or is too busy.
        """
        for attempt in range(1, TRIES + 1):
            try:
                with Session(self.engine, expire_on_commit=False) as session, session.begin():
                    return work(session)
            except (OperationalError, IntegrityError) as error:
                if attempt == TRIES:
                    raise self._failed(error) from None
                time.sleep(random.uniform(0, min(LONGEST_PAUSE, 0.01 * 2**attempt)))  # noqa: S311 (no secret)
            except DBAPIError as error:
                raise self._failed(error) from None
        raise AssertionError

    def _failed(self, error: DBAPIError) -> RegistryError:
        said = str(error.orig).strip().splitlines()[0]
        return RegistryError(f"{self}: the registry cannot be used ({said}); check that the database is there and not full")

    def audit(self, session: Session, entry: Entry) -> None:
        """Write down a step; one that ended just like the last one of this key is counted there.

        Nonsense is counted however it is worded: whoever sends it words it.
        """
        now, nonsense = self.now(), entry.code == MALFORMED
        before = select(AuditRow).where(AuditRow.key == entry.key, AuditRow.name == entry.name[:64])
        if nonsense:
            before = before.where(AuditRow.step == entry.step, AuditRow.code == MALFORMED)
        last = session.scalars(before.order_by(AuditRow.id.desc()).limit(1)).first()
        if last is not None and (last.step, last.code) == (entry.step, entry.code) and (nonsense or last.message == entry.message):
            last.times += 1
            last.last_at, last.message = now, entry.message
            return
        row = AuditRow(first_at=now, last_at=now, times=1, step=entry.step, name=entry.name[:64], key=entry.key)
        row.serial, row.device, row.code = entry.serial, entry.device, entry.code
        row.message, row.retry_after_s = entry.message, entry.retry_after_s
        session.add(row)

    def forget_strangers(self, keep: int) -> int:
        """Drop the oldest steps about boxes that are on no list, all but so many; returns how many are gone.

        Whoever holds a claim can make up serials and keys without end; what is known about boxes of the fleet is kept for good.
        """

        def work(session: Session) -> int:
            strange = (AuditRow.device.is_(None), AuditRow.key.is_not(None), AuditRow.serial.is_(None) | ~listed)
            newest = select(AuditRow.id).where(*strange).order_by(AuditRow.id.desc()).offset(keep).limit(1)
            last = session.scalars(newest).first()
            if last is None:
                return 0
            result = session.execute(delete(AuditRow).where(*strange, AuditRow.id <= last))
            return int(getattr(result, "rowcount", 0))

        listed = exists().where(SerialRow.serial == AuditRow.serial)
        return self.transact(work)


def alembic_config() -> Config:
    """Where the migrations are."""
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    return config


@contextmanager
def opened(url: str) -> Iterator[Registry]:
    """A registry, closed again."""
    registry = Registry.open(url)
    try:
        yield registry
    finally:
        registry.close()


def _sqlite_connected(connection: Any, _: Any) -> None:
    connection.isolation_level = None  # the driver's own BEGIN would not lock for writing
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")  # what was answered is stored, also after a power cut
    connection.execute("PRAGMA foreign_keys=ON")


def _sqlite_begins(connection: Any) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")


def _without_password(url: str) -> str:
    scheme, slashes, rest = url.partition("://")
    return f"{scheme}{slashes}{rest.rpartition('@')[2]}" if slashes else "the database's URL"
