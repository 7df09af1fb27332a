"""PostgreSQL for tests: a server of our own on a free loopback port, in a folder of its own, without fsync; stopped again."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.build import free_port

BIN = next((path for path in sorted(Path("/usr/lib/postgresql").glob("*/bin")) if (path / "initdb").exists()), None)
MISSING = "PostgreSQL's server is not installed: sudo apt install postgresql"
USER = "mien"


@contextmanager
def server() -> Iterator[str]:
    """Run a server; yields its URL without a database, such as ``postgresql://mien@127.0.0.1:40001``."""
    assert BIN is not None, MISSING
    base, port = Path(tempfile.mkdtemp(prefix="mien-postgres-")), free_port()  # where the server's own user may enter
    as_user = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []  # it does not run as root
    if as_user:
        shutil.chown(base, "postgres")
    data, control = base / "data", [*as_user, str(BIN / "pg_ctl"), "-D", str(base / "data"), "-w", "-t", "60"]
    try:
        _run(*as_user, str(BIN / "initdb"), "-D", str(data), "-A", "trust", "-U", USER, "--no-sync", "--locale", "C.UTF-8")
        _run(*control, "-l", str(base / "log"), "-o", f"-p {port} -h 127.0.0.1 -k '' -F", "start")
        try:
            yield f"postgresql://{USER}@127.0.0.1:{port}"
        finally:
            _run(*control, "-m", "immediate", "stop")
    finally:
        shutil.rmtree(base)


def new_database(server_url: str, name: str) -> str:
    """Make an empty database on a server; returns its URL."""
    import psycopg

    with psycopg.connect(f"{server_url}/postgres", autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}" TEMPLATE template0'.encode())
    return f"{server_url}/{name}"


def emptied(server_url: str, name: str) -> str:
    """That database, made if need be, with its tables and without what is in them; to make one takes ten times as long."""
    import psycopg

    with psycopg.connect(f"{server_url}/postgres", autocommit=True) as connection:
        there = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", (name,)).fetchone()
    if there is None:
        return new_database(server_url, name)
    end_connections(server_url, name)
    with psycopg.connect(f"{server_url}/{name}", autocommit=True) as connection:
        tables = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()
        filled = ", ".join(f'"{table}"' for (table,) in tables if table != "alembic_version")
        if filled:
            connection.execute(f"TRUNCATE {filled} RESTART IDENTITY CASCADE".encode())
    return f"{server_url}/{name}"


def end_connections(server_url: str, database: str) -> None:
    """End every connection to a database, as a server does that is restarted."""
    import psycopg

    with psycopg.connect(f"{server_url}/postgres", autocommit=True) as connection:
        connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (database,))


def _run(*words: str) -> None:
    ended = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, cwd="/", check=False)
    assert ended.returncode == 0, (ended.stdout + ended.stderr).decode()
