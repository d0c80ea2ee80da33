"""The pages in a real browser, without Kafka: legible, in one piece, and inert against markup."""

import os
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from streams.console.state.ingest import case_id_of, ingest
from streams.console.state.queries import Filter
from streams.local.process import free_port
from tests.streams.console import samples
from tests.streams.console.browser import browser, chromium
from tests.streams.console.screenshots import fill, loaded, parts, serving

MARKUP = "<script>window.hit = 1</script><img src=x onerror='window.hit = 2'> <b>SHOES</b> & more"
FAINT = """(() => {
  // WCAG 2.2, 1.4.3: contrast of every visible text with the ground behind it.
  const rgb = (colour) => colour.match(/[\\d.]+/g).map(Number);
  const light = (c) => c.slice(0, 3).map((v) => v / 255)
    .map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
    .reduce((sum, v, at) => sum + v * [0.2126, 0.7152, 0.0722][at], 0);
  const faint = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const text = walker.currentNode.textContent.trim();
    const element = walker.currentNode.parentElement;
    if (!text || !element.checkVisibility() || element.closest("option, .unseen, .skip, dialog")) continue;
    let ground = null, opacity = 1;
    for (let e = element; e; e = e.parentElement) {
      const style = getComputedStyle(e);
      opacity *= Number(style.opacity);
      const c = rgb(style.backgroundColor);
      if (!ground && (c[3] ?? 1) === 1) ground = c;
    }
    ground ??= [255, 255, 255];
    const svg = element.closest("svg");
    const ink = rgb(svg ? getComputedStyle(element).fill : getComputedStyle(element).color)
      .slice(0, 3).map((v, at) => v * opacity + ground[at] * (1 - opacity));
    const [a, b] = [light(ink), light(ground)].sort((x, y) => y - x);
    const contrast = (a + 0.05) / (b + 0.05);
    if (contrast < 4.5) faint.push([text.slice(0, 30), element.className, contrast.toFixed(2)]);
  }
  return faint;
})()"""


@pytest.fixture
async def page(tmp_path):
    """A tab, and a console filled with samples: (tab, url, ids of cases, parts)."""
    if chromium() is None:
        assert "CI" not in os.environ, "CI must have chromium: apt-get install chromium"
        pytest.skip("there is no chromium: apt-get install chromium")
    console = parts(f"sqlite:///{tmp_path / 'console.db'}")
    ids = fill(console)
    with serving(console, free_port()) as url:
        async with browser(chromium()) as new_tab:
            yield await new_tab(), url, ids, console


@pytest.fixture
def five_shown(monkeypatch):
    """A queue that shows five cases at a time."""
    monkeypatch.setattr("streams.console.state.queries.SHOWN", 5)
    monkeypatch.setattr("streams.console.web.queue_routes.SHOWN", 5)


@pytest.mark.parametrize(("width", "height"), [(1280, 860), (820, 1180)])
async def test_pages_are_legible_and_fit(page, width, height):
    """Contrast of 4.5 to 1 everywhere, 18 pixels, nothing beyond the edge: desk and tablet."""
    tab, url, ids, _ = page
    await tab.size(width, height)
    for path in ("/?language=de", "/?view=decided", f"/alerts/{ids[0]}", f"/alerts/{ids[5]}"):
        await tab.open(url + path)
        await loaded(tab)
        await tab.press("i")
        assert await tab.do(FAINT) == [], path
        assert await tab.do("parseFloat(getComputedStyle(document.body).fontSize)") >= 18
        assert await tab.do("document.documentElement.scrollWidth") == width
        small = "[...document.querySelectorAll('body *')].filter((e) => e.checkVisibility() && e.children.length == 0 && e.textContent.trim() && parseFloat(getComputedStyle(e).fontSize) < 12.5 && !e.closest('svg')).length"
        assert await tab.do(small) == 0
        unnamed = "[...document.querySelectorAll('button, a, input:not([type=hidden]), select, textarea')].filter((e) => !(e.textContent.trim() || e.ariaLabel || e.labels?.length)).length"
        assert await tab.do(unnamed) == 0
    assert tab.errors == []


async def test_markup_in_goods_text_does_nothing(page):
    """Neither from the server nor from the stream."""
    tab, url, _, console = page
    await tab.open(f"{url}/")
    alert = samples.alert(0, name="EVIL", risk=0.99)
    item = replace(alert.items[0], description=MARKUP)
    ingest(console.store.database, [replace(alert, items=(item,))], {})
    case = case_id_of(alert.declaration_id, 1)
    await tab.until(f"document.getElementById('case-{case}')")
    assert await tab.do(f"document.querySelector('#case-{case} a').textContent") == MARKUP
    await tab.open(f"{url}/alerts/{case}")
    assert await tab.do("document.querySelector('.goods-text').textContent") == MARKUP
    ingest(console.store.database, [samples.explanation(replace(alert, items=(item,)))], {})
    await tab.until("document.querySelector('mark')")
    assert await tab.do("document.querySelector('.goods-text').textContent") == MARKUP
    assert await tab.do("window.hit") is None
    assert tab.errors == []


async def test_everything_works_by_keyboard(page):
    """Move, open, take, decide, go back, filter."""
    tab, url, _, console = page
    await tab.open(f"{url}/")
    for key in "jjjk":
        await tab.press(key)
    assert await tab.do("[...document.querySelectorAll('tr.case')].findIndex((r) => r.matches('.chosen'))") == 1  # fmt: skip
    await tab.press("j")
    await tab.press("j")
    await tab.press("Enter")
    await tab.until("document.querySelector('html.js .case-page')")
    await tab.press("?")
    await tab.until("document.querySelector('dialog').open")
    await tab.press("Escape")
    await tab.until("!document.querySelector('dialog').open")
    await tab.press("a")
    await tab.until("!document.getElementById('assign')")
    await tab.press("n")
    for key in "jump":
        await tab.press(key)
    assert await tab.do("document.activeElement.value") == "jump"
    await tab.press("Escape")
    await tab.press("c")
    await tab.press("Enter")  # in a form: sends it
    await tab.until("document.querySelector('.outcome.conforming')")
    assert console.actions.unsent() == 1
    await tab.press("u")
    await tab.until("document.querySelector('html.js #rows')")
    await tab.press("/")
    assert await tab.do("document.activeElement.id") == "filter-lane"


async def test_filters_are_moved_through_without_leaving_the_page(page):
    """By arrows: the rows change, the focus stays, and the way back keeps the filter."""
    tab, url, _, console = page
    await tab.open(f"{url}/")
    await tab.do("window.loadedOnce = true")
    await tab.press("/")
    lanes = "[...new Set([...document.querySelectorAll('tr.case td.risk')].map((r) => r.classList[1]))].join()"  # fmt: skip
    for lane in ("red", "yellow"):
        await tab.press("ArrowDown")
        await tab.until(f"{lanes} == '{lane}'")
        assert await tab.do("document.activeElement.id") == "filter-lane"
    assert await tab.do("window.loadedOnce && location.search.includes('lane=yellow')")
    assert await tab.do("document.querySelector('.views a').href.includes('lane=yellow')")
    red = samples.alert(0, name="LATER")
    yellow = samples.alert(1, name="LATER")
    ingest(console.store.database, [red, yellow], {})
    await tab.until(f"document.getElementById('case-{case_id_of(yellow.declaration_id, 1)}')")
    assert await tab.do(lanes) == "yellow"
    await tab.press("Escape")
    await tab.press("j")
    chosen = await tab.do("document.querySelector('.chosen').id")
    ingest(console.store.database, [samples.alert(5, name="LATER", lane="yellow", risk=0.99)], {})
    await tab.do(f"window.before = document.getElementById('{chosen}')")
    console.actions.note(chosen.removeprefix("case-"), console.identity.user({}, ""), "seen")
    await tab.until(f"document.getElementById('{chosen}') !== window.before")
    assert await tab.do("document.activeElement.closest('tr').id") == chosen
    await tab.press("Enter")
    await tab.until("document.querySelector('html.js .case-page')")
    await tab.press("u")
    await tab.until(f"document.querySelector('html.js #rows') && {lanes} == 'yellow'")
    assert tab.errors == []


@pytest.mark.usefixtures("five_shown")
async def test_the_queue_refills_from_what_it_does_not_show(page):
    """Those with the highest risk are shown, whichever leaves or arrives."""
    tab, url, _, console = page
    alerts = [samples.alert(place, name="MANY", risk=1 - place / 100) for place in range(9)]
    ingest(console.store.database, alerts, {})
    ids = [case_id_of(alert.declaration_id, 1) for alert in alerts]
    rows = "[...document.querySelectorAll('tr.case')].map((r) => r.id.slice(5)).join()"
    await tab.open(f"{url}/")
    assert await tab.do(rows) == ",".join(ids[:5])
    ann = console.identity.user({}, "")
    for case in ids[:4]:
        console.actions.decide(case, ann, "conforming", (), "")
    ingest(console.store.database, [samples.alert(0, name="LOW", risk=0.01)], {})
    await tab.until(f"{rows} == '{','.join(ids[4:9])}'")
    assert not await tab.do("document.getElementById('more').hidden")
    assert tab.errors == []


@pytest.mark.usefixtures("five_shown")
async def test_the_focus_stays_where_it_is(page):
    """On the row that somebody reached by Tab, or in a filter, whatever rows come and go."""
    tab, url, _, console = page
    ann = console.identity.user({}, "")
    await tab.open(f"{url}/")
    rows = "[...document.querySelectorAll('tr.case')].map((r) => r.id.slice(5))"
    shown = (await tab.do(f"{rows}.join()")).split(",")
    await tab.do("document.querySelectorAll('tr.case')[3].querySelector('a').focus()")
    console.actions.snooze(shown[1], ann, datetime.now(UTC) + timedelta(hours=1))
    await tab.until(f"!{rows}.includes('{shown[1]}') && {rows}.length == 5")
    assert await tab.do("document.activeElement.closest('tr').id.slice(5)") == shown[3]
    await tab.press("j")
    chosen = await tab.do("document.querySelector('.chosen').id.slice(5)")
    await tab.press("/")
    console.actions.snooze(chosen, ann, datetime.now(UTC) + timedelta(hours=1))
    await tab.until(f"!{rows}.includes('{chosen}')")
    assert await tab.do("document.activeElement.id") == "filter-lane"
    total = console.store.queue(Filter()).total + 2
    ingest(
        console.store.database, [samples.alert(n, name="MORE", risk=0.01 * n) for n in range(2)], {}
    )
    await tab.until(f"document.getElementById('more').textContent.includes('first 5 of {total}')")
    assert tab.errors == []


@pytest.mark.usefixtures("five_shown")
async def test_a_refill_that_fails_leaves_the_queue(page):
    """It is tried again, and the page stays live."""
    tab, url, _, console = page
    await tab.open(f"{url}/")
    await tab.do(
        "const real = fetch; window.asked = 0; window.fetch = (...all) =>"
        " window.asked++ ? real(...all) : Promise.resolve(new Response('no', {status: 502}))"
    )
    first = "document.querySelector('tr.case').id.slice(5)"
    gone = await tab.do(first)
    console.actions.decide(gone, console.identity.user({}, ""), "conforming", (), "")
    await tab.until("window.asked == 1")
    assert await tab.do("document.querySelectorAll('tr.case').length") == 4
    await tab.until("document.querySelectorAll('tr.case').length == 5")
    assert tab.errors == []


async def test_findings_are_added_and_taken_away(page):
    """What is incomplete among them does not hold back a conforming decision."""
    tab, url, ids, console = page
    await tab.open(f"{url}/alerts/{ids[0]}")
    await tab.press("i")
    await tab.click("#add-finding")
    await tab.do("document.querySelectorAll('[name=code]')[1].value = '64'")
    assert await tab.do("document.querySelectorAll('.finding').length") == 2
    await tab.do("document.querySelector('.finding .remove').click()")
    assert await tab.do("[...document.querySelectorAll('[name=code]')].map((i) => i.value)") == ["64"]  # fmt: skip
    assert not await tab.do("document.querySelector('.finding .remove').checkVisibility()")
    await tab.click(".send")
    await tab.until("document.getElementById('problem').textContent.startsWith('A code has')")
    await tab.do("document.activeElement.blur()")
    await tab.press("c")
    await tab.click(".send")
    await tab.until("document.querySelector('.outcome.conforming')")
    assert console.actions.unsent() == 1
    assert tab.errors == []


async def test_a_heat_map_that_fails_leaves_the_others(page):
    """Their switch goes on and off."""
    tab, url, _, console = page
    alert = samples.alert(0, name="TWO")
    item = replace(alert.items[0], images=alert.items[0].images * 2)
    alert = replace(alert, items=(item,))
    explanation = samples.explanation(alert)
    maps = ("s3://goods-photos/gone.png", *explanation.items[0].heat_maps)
    explanation = replace(explanation, items=(replace(explanation.items[0], heat_maps=maps),))
    ingest(console.store.database, [alert, explanation], {})
    await tab.open(f"{url}/alerts/{case_id_of(alert.declaration_id, 1)}")
    await tab.press("h")
    await tab.until("document.querySelectorAll('.heat').length == 1")
    await tab.until("document.querySelector('.heat')?.naturalWidth > 100")
    assert not await tab.do("document.querySelector('.heat').hidden")
    await tab.press("h")
    assert await tab.do("document.querySelector('.heat').hidden")
    await tab.press("h")
    assert not await tab.do("document.querySelector('.heat').hidden")
    assert tab.errors == []


async def test_what_was_typed_outlives_a_failure(page):
    """The server refuses, or is gone: the page says so and keeps the form."""
    tab, url, ids, console = page
    await tab.open(f"{url}/alerts/{ids[0]}")
    await tab.press("i")
    await tab.do("document.querySelector('[name=recovered]').value = 'much'")
    await tab.click(".send")
    await tab.until("document.getElementById('problem').textContent.startsWith('The amount')")
    assert await tab.do("document.querySelector('[name=recovered]').value") == "much"
    await tab.do("document.querySelector('[name=recovered]').value = '12'")
    offline = {"latency": 0, "downloadThroughput": 0, "uploadThroughput": 0}
    await tab.send("Network.emulateNetworkConditions", offline=True, **offline)
    await tab.click(".send")
    await tab.until("document.getElementById('problem').textContent.startsWith('Not sent')")
    assert await tab.do("document.querySelector('[name=recovered]').value") == "12"
    await tab.send(
        "Network.emulateNetworkConditions",
        offline=False,
        **offline | {"downloadThroughput": -1, "uploadThroughput": -1},
    )
    console.actions.decide(ids[0], console.identity.user({}, ""), "conforming", (), "")
    await tab.until("document.querySelector('.outcome')")
    assert await tab.do("document.getElementById('decision')") is None
