"""Role × route of the console: every route is listed here, and answers only those it is for."""

import pytest
from fastapi.testclient import TestClient

from streams.console.state.users import User
from streams.console.web.pages import application
from streams.settings import Settings
from tests.streams.console import samples, screenshots
from tests.streams.console.test_pages import put

EVERYBODY = ("stranger", "no role", "viewer", "inspector", "supervisor")
LOOK, ACT, SUPERVISE = EVERYBODY[2:], EVERYBODY[3:], EVERYBODY[4:]
CASE = "/alerts/{case_id}"
ITEM = CASE + "/items/{number}"
ALLOWED = {
    ("GET", "/livez"): EVERYBODY,
    ("GET", "/readyz"): EVERYBODY,
    ("GET", "/"): LOOK,
    ("GET", "/live"): LOOK,
    ("GET", CASE): LOOK,
    ("GET", ITEM + "/photos/{place}"): LOOK,
    ("GET", ITEM + "/heat-maps/{place}"): LOOK,
    ("GET", ITEM + "/similar/{place}"): LOOK,
    ("POST", CASE + "/assign"): ACT,
    ("POST", CASE + "/release"): ACT,
    ("POST", CASE + "/snooze"): ACT,
    ("POST", CASE + "/note"): ACT,
    ("POST", CASE + "/decision"): ACT,
    ("POST", CASE + "/reopen"): SUPERVISE,
}
SECRET = "s3cret"  # noqa: S105 - of this test alone


@pytest.fixture
def console(tmp_path):
    """The parts of a console behind a proxy."""
    settings = Settings(console_proxy_secret=SECRET)
    url = f"sqlite:///{tmp_path / 'console.db'}"
    parts = screenshots.parts(url, settings=settings, demo_user=None)
    parts.stopping.event.set()  # the live stream ends at once
    yield parts
    parts.store.database.close()


def headers_of(who):
    """What the proxy says of somebody; of a stranger it says nothing."""
    if who == "stranger":
        return {}
    return {
        "X-Redlane-Proxy-Secret": SECRET,
        "X-Forwarded-User": who,
        "X-Forwarded-Groups": f"redlane-{who}",
    }


def routes_of(router):
    """Method and path of every route below; a mounted application is one, without a method."""
    for route in router.routes:
        if hasattr(route, "original_router"):
            yield from routes_of(route.original_router)
        else:
            yield from ((method, route.path) for method in getattr(route, "methods", [""]))


def test_every_route_is_listed(console):
    """So that a new one cannot be open by oversight; what is mounted holds no data."""
    app = application(console)._app
    assert set(routes_of(app)) == {*ALLOWED, ("", "/static")}


@pytest.mark.parametrize("who", EVERYBODY)
def test_a_route_answers_whom_it_is_for(console, who):
    """Others get 401 where nobody is named and 403 else, even with a token of the page."""
    (case,) = put(console, samples.alert())
    token = console.tokens.give(User(id=who, name=who, role=who))
    with TestClient(application(console), follow_redirects=False) as browser:
        for (method, path), allowed in ALLOWED.items():
            place = path.format(case_id=case, number=1, place=0)
            form = {"token": token, "text": "a note", "result": "conforming"}
            sent = {"data": form} if method == "POST" else {}
            status = browser.request(method, place, headers=headers_of(who), **sent).status_code
            if who in allowed:
                assert status in {200, 303, 404}, (path, status)  # 404: the sample has no such map
            else:
                assert status == (401 if who == "stranger" else 403), (path, status)
