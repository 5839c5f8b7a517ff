"""A database that was closed keeps no connection open, not even one that was in use then."""

from monitor.store.database import Database


def test_a_connection_in_use_while_the_database_closes_ends_when_it_is_returned(
    database_url: str,
) -> None:
    database = Database(database_url)
    with database.begin() as tx:
        held = tx.connection.driver_connection
        assert held is not None
        database.close()
        assert not held.closed
    assert held.closed


def test_a_database_that_was_closed_serves_again(database_url: str) -> None:
    database = Database(database_url)
    database.close()
    with database.begin() as tx:
        assert tx.exec_driver_sql("SELECT 1").scalar_one() == 1
    database.close()
