import pytest

from alerts.message import Links
from alerts.types import Blame, Kind
from monitor.outbox.linking import with_runbooks
from tests.alert_samples import FULL, an_alert

HERE = "https://driftline.example/"


@pytest.mark.parametrize(
    ("kind", "blame", "page"),
    [
        (Kind.DRIFT, Blame.ADAPTER, "blame-adapter"),
        (Kind.DRIFT, Blame.UNKNOWN, "blame-unknown"),
        (Kind.NO_DATA, Blame.UNKNOWN, "kind-no_data"),
        (Kind.BLIND, Blame.UNKNOWN, "kind-blind"),
        (Kind.ERROR, Blame.BASE, "kind-error"),
    ],
)
def test_a_message_leads_to_what_to_do(kind: Kind, blame: Blame, page: str) -> None:
    told = with_runbooks(an_alert(kind=kind, blame=blame, links=Links()), HERE)
    assert told.links.runbook == f"https://driftline.example/runbooks/{page}"


def test_the_adapters_own_runbook_goes_first_beside_the_leading_detectors() -> None:
    links = with_runbooks(FULL, HERE).links
    assert links.runbook == "https://wiki.example/support"
    assert links.detector_runbook == "https://driftline.example/runbooks/detector-logit_ks"
    assert (links.incident, links.dashboard) == (FULL.links.incident, FULL.links.dashboard)
    assert with_runbooks(an_alert(scores=()), HERE).links.detector_runbook is None


def test_a_test_and_a_service_that_nobody_reaches_have_none() -> None:
    assert with_runbooks(FULL, None) == FULL
    tried = an_alert(test=True)
    assert with_runbooks(tried, HERE) == tried
