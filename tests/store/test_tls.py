"""A database that proves who it is by a certificate, and one that is another's."""

import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa
import trustme
from sqlalchemy import Connection
from sqlalchemy.engine import URL, make_url

from monitor.postgres.account import choose_account
from monitor.postgres.binaries import find_binaries
from monitor.store.database import Database
from tests.cli.examined import examine
from tests.pooler import through_pgbouncer
from tests.servers import OWNER, Server

HOST = "db.driftline.test"
"""What the certificate is for."""


@dataclass(frozen=True)
class Certificate:
    """A server's certificate and key, and the authority that signed it."""

    chain: Path
    key: Path
    authority: Path


@pytest.fixture
def certificate(tmp_path: Path) -> Certificate:
    authority = trustme.CA()
    made = authority.issue_cert(HOST)
    files = Certificate(*(tmp_path / name for name in ("server.pem", "server.key", "ca.pem")))
    made.cert_chain_pems[0].write_to_path(str(files.chain))
    made.private_key_pem.write_to_path(str(files.key))
    files.key.chmod(0o600)
    authority.cert_pem.write_to_path(str(files.authority))
    return files


@dataclass(frozen=True)
class Secured:
    """A server with a certificate; ``direct`` is an address past it, if it is a pooler."""

    address: URL
    authority: Path
    direct: str | None = None

    def url(self, *, host: str = HOST, authority: Path | None = None) -> str:
        """Give the address as a company's config has it; no name server knows the host."""
        proof = {"sslmode": "verify-full", "sslrootcert": str(authority or self.authority)}
        asked = self.address.set(host=host).update_query_dict({"hostaddr": "127.0.0.1"} | proof)
        return asked.render_as_string(hide_password=False)

    def run(self, **change: Any) -> bool:
        """Connect, and tell whether the connection is encrypted."""
        database = Database(self.url(**change), direct=self.direct)
        try:
            return database.run(_encrypted)
        finally:
            database.close()


def _encrypted(tx: Connection) -> bool:
    tx.execute(sa.text("SELECT 1"))
    connection = tx.connection.driver_connection
    assert isinstance(connection, psycopg.Connection)
    return bool(connection.pgconn.ssl_in_use)


@pytest.fixture(params=["PostgreSQL", "PgBouncer"])
def secured(
    request: pytest.FixtureRequest, certificate: Certificate, database_url: str, tmp_path: Path
) -> Iterator[Secured]:
    if request.param == "PgBouncer":
        settings = (
            "client_tls_sslmode = require",
            f"client_tls_cert_file = {certificate.chain}",
            f"client_tls_key_file = {certificate.key}",
        )
        with through_pgbouncer(database_url, tmp_path, *settings) as url:
            yield Secured(make_url(url), certificate.authority, direct=database_url)
        return
    account = choose_account(find_binaries())
    programs = _built_with_tls(account.bin)
    if programs is None or account.switch:
        pytest.skip("the wheel's PostgreSQL is built without TLS: Debian's postgresql has it")
    server = Server(tmp_path / "server", replace(account, bin=programs), "secured")
    try:
        server.make()
        server.start(
            "ssl=on", f"ssl_cert_file={certificate.chain}", f"ssl_key_file={certificate.key}"
        )
        url = f"postgresql+psycopg://{OWNER}@127.0.0.1:{server.port}/postgres"
        yield Secured(make_url(url), certificate.authority)
    finally:
        server.stop()


def _built_with_tls(wheel: Path) -> Path | None:
    """Find a server's programs that can encrypt: Debian's, until the wheel's can."""
    for programs in (wheel, *Path("/usr/lib/postgresql").glob("*/bin")):
        asked = [str(programs / "pg_config"), "--configure"]
        built = subprocess.run(asked, capture_output=True, text=True, check=True).stdout
        if "--with-ssl" in built or "--with-openssl" in built:
            return programs
    return None


def _examined(secured: Secured, folder: Path, **change: Any) -> Mapping[str, str]:
    """Give what `driftline doctor` finds of the database."""
    given = {"DATABASE__URL": secured.url(**change), "DATABASE__DIRECT_URL": secured.direct or ""}
    _, found = examine(folder, **given)
    [told] = found["database"]
    return told


def test_a_server_of_the_right_authority_and_name_is_used(secured: Secured, tmp_path: Path) -> None:
    assert secured.run()
    assert _examined(secured, tmp_path)["health"] == "fine"


def test_a_server_of_another_authority_is_refused(secured: Secured, tmp_path: Path) -> None:
    other = tmp_path / "other.pem"
    trustme.CA().cert_pem.write_to_path(str(other))
    with pytest.raises(sa.exc.OperationalError, match="certificate verify failed"):
        secured.run(authority=other)
    told = _examined(secured, tmp_path, authority=other)
    assert told["health"] == "fault"
    assert told["found"].endswith("SSL error: certificate verify failed")
    assert "sslrootcert" in told["advice"]


def test_a_server_of_another_name_is_refused(secured: Secured, tmp_path: Path) -> None:
    said = f'certificate for "{HOST}" does not match host name "other.driftline.test"'
    with pytest.raises(sa.exc.OperationalError, match=said):
        secured.run(host="other.driftline.test")
    told = _examined(secured, tmp_path, host="other.driftline.test")
    assert told["health"] == "fault"
    assert told["found"].endswith(said)
    assert "host" in told["advice"]
