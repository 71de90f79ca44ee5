"""The page in a real browser, on a real server with real guards: what a person sees is what the guard decided."""

import csv
import io
import itertools
import json
from shutil import which

import pytest

pytest.importorskip("fastapi")

from tests.report.test_accessibility import PLACES, RUN
from tests.report.webdriver import chromium
from tests.serve.page_host import CLASSES, HOSTILE, TOKEN, Page, pictures, served

pytestmark = pytest.mark.browser

TAB, ENTER, SPACE = "\ue004", "\ue007", " "
CAUGHT = """
window.texts = [];
const made = URL.createObjectURL, gone = URL.revokeObjectURL;
window.addresses = 0;
URL.createObjectURL = (blob) => {
  window.addresses += 1;
  blob.text().then((text) => window.texts.push(text));
  return made(blob);
};
URL.revokeObjectURL = (address) => { window.addresses -= 1; gone(address); };
HTMLAnchorElement.prototype.click = function () { window.named = this.download; };
"""


BROUGHT = """
  const kind = arguments[0], data = new DataTransfer();
  data.items.add(new File([Uint8Array.from(arguments[1])], arguments[2], { type: "image/png" }));
  const given = kind === "paste" ? { clipboardData: data } : { dataTransfer: data };
  const type = kind === "paste" ? ClipboardEvent : DragEvent;
  const made = new type(kind, { bubbles: true, cancelable: true, ...given });
  document.body.dispatchEvent(made);
  return made.defaultPrevented;
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    if not (which("chromedriver") and (which("chromium") or which("google-chrome"))):
        pytest.skip("no chromium and chromedriver on PATH")
    folder = tmp_path_factory.mktemp("served")
    with served(folder) as host, chromium() as browser:
        yield Page(browser, host)


@pytest.fixture(scope="module")
def given(tmp_path_factory, place):
    """Files, and what the guard itself decides about each."""
    paths, _ = pictures(tmp_path_factory.mktemp("pictures"))
    return paths, list(place.served.guard.read(paths))


@pytest.fixture
def page(place):
    place.open()
    yield place
    assert place.log() == []  # nothing that the policy forbids was tried, in any test


@pytest.fixture(scope="module")
def answered(given):
    return next(path for path, found in zip(*given, strict=True) if found.accepted)


@pytest.fixture(scope="module")
def withheld(given):
    return next(path for path, found in zip(*given, strict=True) if not found.accepted)


def of(given, path):
    return given[1][given[0].index(path)]


class TestOnePicture:
    def test_an_answer_is_shown_with_its_probabilities_and_its_uncertainty(self, page, given, answered):
        page.script(CAUGHT)
        page.give(answered)
        found = of(given, answered)
        assert page.text("verdict-title") == f"Answers: {found.answer}"
        assert page.text("live") == f"{answered.name}. Answers: {found.answer}."
        bars = page.text("bars").split()
        assert bars[0] == found.label
        assert len(page.script("return [...document.querySelectorAll('#bars li')].map(li => li.innerText)")) == 3
        assert float(bars[1]) == pytest.approx(100 * found.confidence, abs=0.051) or bars[1] == ">"
        page.wait("return document.getElementById('picture').naturalWidth === 8")
        assert not page.shown("many")
        assert page.script("return window.addresses") == 0  # its address is given back, the picture stays

    def test_an_abstention_is_said_in_words_and_no_guess_is_marked_as_an_answer(self, page, given, withheld):
        page.give(withheld)
        assert page.text("verdict-title") == "Goes to a person"
        assert page.text("verdict-why") == "The model is not confident enough."
        assert "Goes to a person. The model is not confident enough." in page.text("live")
        assert page.script("return document.querySelectorAll('#bars .answer').length") == 0
        assert "do not use them" in page.text("bars-note")

    def test_the_uncertainty_stands_on_its_side_of_the_threshold(self, page, given, answered, withheld):
        threshold = page.served.guard.policy.certificate.threshold
        lines = (
            "return ['own', 'threshold'].map(kind => parseFloat(document.querySelector(`.line.${kind}`).style.left))"
        )
        for path, words in ((answered, "at most the threshold"), (withheld, "above the threshold")):
            page.give(path)
            score = of(given, path).scores["msp"]
            own, bound = page.script(lines)
            assert (own <= bound) == (score <= threshold)
            assert [own, bound] == pytest.approx([100 * place_of(page, each) for each in (score, threshold)], abs=0.01)
            share = share_below(page, score)
            than = f"about {round(100 * share)} in 100" if share < 0.995 else "nearly all"
            assert f"more uncertain than {than} of the 300 pictures" in page.text("signals")
            assert words in page.text("signals")
            assert f"{score:.4g}" in page.text("signals")
        edges, counts = (page_calibration(page)["msp"][part] for part in ("edges", "counts"))
        kinds = "return ['answered', 'abstained'].map(kind => document.querySelectorAll(`.plot .${kind}`).length)"
        below = sum(1 for k, n in enumerate(counts) if n and edges[k] < threshold)
        above = sum(1 for k, n in enumerate(counts) if n and edges[k + 1] > threshold)
        assert page.script(kinds) == [below, above]

    @pytest.mark.parametrize(
        ("score", "side", "words"), [(-5.0, "0%", "surer than nearly all"), (5.0, "100%", "uncertain than nearly all")]
    )
    def test_a_score_beyond_all_of_calibration_stands_at_the_edge_and_is_said_to_be_beyond(
        self, page, answered, score, side, words
    ):
        page.faults.changes["/predict"] = lambda found: {
            **found,
            "decisions": [{**found["decisions"][0], "scores": {"msp": score}}],
        }
        page.give(answered)
        assert page.script("return document.querySelector('.line.own').style.left") == side
        assert "(beyond the drawing)" in page.text("signals")
        assert words in page.text("signals")

    def test_a_score_near_the_threshold_is_said_to_be(self, page, answered):
        page.faults.changes["/predict"] = lambda found: {
            **found,
            "decisions": [{**found["decisions"][0], "near": True}],
        }
        page.give(answered)
        assert "may decide otherwise" in page.text("verdict-near")

    def test_it_can_be_pasted_and_dropped(self, page, answered):
        for kind in ("paste", "drop"):
            assert page.script(BROUGHT, kind, list(answered.read_bytes()), f"{kind}.png")
            page.wait(f"return document.getElementById('picture-name').innerText.startsWith('{kind}.png')")
        page.done()
        assert page.column("Name") == ["paste.png", "drop.png"]


def place_of(page, score):
    """Where a score lies across bars that are drawn equally wide, by walking along them."""
    edges = page_calibration(page)["msp"]["edges"]
    for bar, (low, high) in enumerate(itertools.pairwise(edges)):
        if low <= score <= high:
            return (bar + (score - low) / (high - low)) / (len(edges) - 1)
    raise AssertionError(score)


def share_below(page, score):
    """The share of calibration pictures below a score, those of its own bar spread evenly over it."""
    edges, counts = (page_calibration(page)["msp"][part] for part in ("edges", "counts"))
    parts = [min(max((score - a) / (b - a), 0), 1) for a, b in itertools.pairwise(edges)]
    return sum(part * n for part, n in zip(parts, counts, strict=True)) / sum(counts)


def page_calibration(page):
    return json.loads(page.script("return fetch('guards/tiny').then(answer => answer.text())"))["calibration"]


@pytest.fixture
def folder(given, tmp_path, answered):
    """All pictures, a text, and one whose name a spreadsheet would run."""
    (tmp_path / "notes.txt").write_text("no picture")
    (tmp_path / "=cmd|x.png").write_bytes(answered.read_bytes())
    return [*given[0], tmp_path / "notes.txt", tmp_path / "=cmd|x.png"]


class TestManyPictures:
    def test_the_table_has_what_the_guard_decides_and_filters_and_sorts_it(self, page, given, folder):
        page.give(*folder)
        names, found = [path.name for path in given[0]], given[1]
        assert page.column("Name") == [*names, "notes.txt", "=cmd|x.png"]
        said = ["Answers" if each.accepted else "Goes to a person" for each in found]
        assert page.column("Verdict")[: len(said)] == said
        assert page.column("Answer")[: len(said)] == [each.answer or "—" for each in found]
        answers = sum(each.accepted for each in found) + 1
        assert page.text("tally").split()[:2] == [str(answers), "answered"]
        page.press("abstained")
        kept = [name for name, each in zip(names, found, strict=True) if not each.accepted]
        assert page.column("Name") == [*kept, "notes.txt"]
        assert f"{len(kept) + 1} rows" in page.text("csv")
        head = "document.querySelectorAll('#heads button')[4]"
        page.script(f"{head}.click(); {head}.click()")
        assert page.script(f"return {head}.closest('th').getAttribute('aria-sort')") == "descending"
        scores = {name: each.scores["msp"] for name, each in zip(names, found, strict=True)}
        assert page.column("Name") == [*sorted(kept, key=scores.get, reverse=True), "notes.txt"]

    def test_the_file_has_every_number_whole_and_no_formula(self, page, given, folder):
        page.script(CAUGHT)
        page.give(*folder)
        page.press("csv")
        page.wait("return window.texts.length > 0")
        rows = list(csv.DictReader(io.StringIO(page.script("return window.texts[0]"))))
        assert page.script("return window.named") == "demur-tiny.csv"
        assert [row["name"] for row in rows] == [*(path.name for path in given[0]), "notes.txt", "'=cmd|x.png"]
        for row, found in zip(rows, given[1], strict=False):
            assert float(row["score msp"]) == pytest.approx(found.scores["msp"], abs=1e-7)
            assert float(row["threshold msp"]) == page.served.guard.policy.certificate.threshold
            assert (row["accepted"], row["answer"]) == (str(found.accepted).lower(), found.answer or "")
            assert (row["model_says"], row["reason"]) == (found.label, found.reason)
        assert rows[-2]["reason"] == "unreadable"
        assert {row["guard"] for row in rows} == {"tiny"}

    def test_requests_are_bounded_and_one_that_is_refused_is_split(self, page, given):
        page.faults.most = 3
        page.give(*given[0][:20])
        assert page.column("Verdict").count("No decision") == 0
        assert len(page.column("Name")) == 20
        assert page.paths().count(("POST", "/predict")) == (1 + 2 + 4 + 8) + (1 + 2)  # 16 → 8 → 4 → 2, and 4 → 2

    def test_a_file_that_is_too_large_is_a_row_and_is_not_sent(self, page, given, answered, tmp_path):
        page.faults.changes["/guards/tiny"] = lambda found: {**found, "limits": {"bytes": 20_000, "images": 64}}
        page.again()
        (tmp_path / "large.png").write_bytes(bytes(30_000))
        page.give(answered, tmp_path / "large.png", *given[0][:3])
        assert page.column("Verdict")[1] == "No decision"
        assert "this server takes 20 KiB" in page.column("Reason")[1]
        assert all(size < 20_000 for method, _, size in page.faults.requests if method == "POST")
        assert page.text("again") == "Ask again (1)"

    def test_a_row_opens_its_verdict(self, page, given, withheld):
        page.give(*given[0][:9], withheld)
        page.script("document.querySelector('#rows tr:last-child .see').click()")
        assert page.text("verdict-title") == "Goes to a person"
        assert page.text("picture-name").startswith(withheld.name)

    def test_it_can_be_stopped_and_asked_again(self, page, given):
        page.faults.slow = 5
        page.choose(*given[0][:40])
        page.wait("return !document.getElementById('progress').hidden")
        page.press("cancel")
        page.done()
        assert set(page.column("Verdict")) == {"No decision"}
        assert set(page.column("Reason")) == {"Stopped before it was decided."}
        page.faults.slow = 0
        page.press("again")
        page.done()
        assert set(page.column("Verdict")) <= {"Answers", "Goes to a person"}


class TestFaults:
    def test_a_busy_server_is_asked_again_when_it_said_so(self, page, given):
        page.faults.busy = 1
        page.choose(*given[0][:2])
        page.wait("return document.getElementById('progress-words').innerText.includes('The server is busy')")
        page.done()
        assert "No decision" not in page.column("Verdict")
        assert page.paths().count(("POST", "/predict")) == 2

    def test_a_server_that_is_gone_is_asked_again(self, page, answered):
        page.browser.command("Network.enable")
        page.browser.command(
            "Network.emulateNetworkConditions", offline=True, latency=0, downloadThroughput=-1, uploadThroughput=-1
        )
        page.choose(answered)
        try:
            page.wait("return document.getElementById('progress-words').innerText.includes('does not answer')")
        finally:
            page.browser.command(
                "Network.emulateNetworkConditions", offline=False, latency=0, downloadThroughput=-1, uploadThroughput=-1
            )
        page.done()
        assert page.text("verdict-title").startswith("Answers")

    def test_a_token_is_asked_for_and_kept_nowhere(self, page, answered):
        page.faults.token = True
        page.again(ready=False)
        for token in ("wrong-but-long-enough", TOKEN):
            page.wait("return document.getElementById('token-dialog').open")
            assert page.script("return document.activeElement.id") == "token"
            assert ("not accepted" in page.text("token-why")) == (token == TOKEN)
            page.keys(*token, ENTER)
        page.wait("return document.documentElement.dataset.ready === 'true'")
        page.give(answered)
        assert page.text("verdict-title").startswith("Answers")
        assert page.script("return [localStorage.length, sessionStorage.length, document.cookie]") == [0, 0, ""]
        assert TOKEN not in page.script(
            "return document.documentElement.outerHTML + document.getElementById('token').value"
        )

    def test_without_a_token_it_says_why_and_asks_on_demand(self, page):
        page.faults.token = True
        page.again(ready=False)
        page.wait("return document.getElementById('token-dialog').open")
        page.press("token-cancel")
        page.wait("return document.querySelector('#banners button')")
        assert "asks for a token" in page.text("banners")
        page.script("document.querySelector('#banners button').click()")
        page.wait("return document.getElementById('token-dialog').open")

    def test_what_an_attacker_names_stays_text(self, page, given, tmp_path):
        page.script(
            "const s = document.getElementById('guard'); s.value = 'hostile'; s.dispatchEvent(new Event('change'))"
        )
        page.wait("return document.getElementById('subject').innerText.includes('hostile')")
        name = tmp_path / "<img src=x onerror=window.pwned=1>.png"
        name.write_bytes(given[0][0].read_bytes())
        alarm = {
            "state": "alarm",
            "sentence": HOSTILE[0],
            "evidence": 200.0,
            "threshold": 100.0,
            "counts": {HOSTILE[1]: 3},
        }
        page.faults.changes["/alarms"] = lambda _: {"harm": alarm, "pending": [HOSTILE[0]]}
        page.give(*given[0][:12], name)
        page.script("document.querySelector('#rows tr:last-child .see').click()")
        page.wait("return document.querySelector('#banners .banner')")
        found = page.script("return document.querySelectorAll('img, script').length")
        assert found == 2  # the picture, and the page's own script
        assert page.script("return window.pwned ?? null") is None
        assert name.name in page.text("picture-name")
        assert set(page.column("Answer")) <= {*HOSTILE, "—"}
        assert HOSTILE[0] in page.text("watch")

    def test_another_guard_begins_anew_and_an_expired_one_is_loud(self, page, answered):
        page.faults.changes["/guards/hostile"] = lambda found: {
            **found,
            "guarantee": {**found["guarantee"], "expired": True, "expires": "2026-01-31"},
        }
        page.give(answered)
        page.script(
            "const s = document.getElementById('guard'); s.value = 'hostile'; s.dispatchEvent(new Event('change'))"
        )
        page.wait("return document.querySelector('.banner.stop')")
        assert "its last day was 2026-01-31" in page.text("banners")
        assert not page.shown("verdict")

    def test_while_a_guard_that_was_chosen_is_not_known_no_other_is_asked_in_its_place(self, page, answered):
        network = {"latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}
        page.browser.command("Network.enable")
        page.browser.command("Network.emulateNetworkConditions", offline=True, **network)
        try:
            page.script(
                "const s = document.getElementById('guard'); s.value = 'hostile'; s.dispatchEvent(new Event('change'))"
            )
            page.wait("return document.querySelector('#banners button')")
            assert page.script("return document.getElementById('files').disabled")
            page.script(BROUGHT, "paste", list(answered.read_bytes()), "early.png")
            assert page.script("return document.documentElement.dataset.used ?? null") is None
        finally:
            page.browser.command("Network.emulateNetworkConditions", offline=False, **network)
        page.script("document.querySelector('#banners button').click()")
        page.wait("return !document.getElementById('files').disabled")
        assert "hostile" in page.text("subject")
        assert page.text("banners") == ""

    def test_a_guard_that_was_replaced_is_looked_at_anew_once(self, page, given):
        page.faults.changes["/predict"] = lambda found: {**found, "guard": {"name": "tiny", "sha256": "ab" * 32}}
        page.faults.changes["/guards/tiny"] = lambda found: {**found, "guarantee": {"sentence": "A new one."}}
        page.give(*given[0][:20])
        page.wait("return document.getElementById('sentence').innerText === 'A new one.'")
        assert page.paths().count(("GET", "/guards/tiny")) == 2


ALARMS = {
    "begun": "2026-11-30T19:00:00+00:00", "images": 5120, "abstained": 1530,
    "workload": {
        "state": "alarm", "evidence": 812.0, "threshold": 100.0, "since": "2026-11-30T21:14:09+00:00", "void": "",
        "sentence": "More than 25 in 100 images go to a person.", "counts": {"images": 5120},
    },
    "harm": {
        "state": "quiet", "evidence": 0.8, "threshold": 100.0, "void": "", "sentence": "3 of 140 were wrong.",
        "counts": {"labels": 140},
    },
    "martingale": {
        "state": "quiet", "evidence": 2.0, "threshold": 100.0, "sentence": "As chance would have it.", "counts": {},
    },
    "pending": [{"id": "elsewhere-1", "probability": 0.05}],
}  # fmt: skip


class TestAlarms:
    def test_an_alarm_is_loud_and_workload_is_not_called_harm(self, page):
        page.faults.changes["/alarms"] = lambda _: ALARMS
        page.again()
        page.wait("return document.querySelector('.banner.fail')")
        assert page.text("banners").startswith("Workload alarm: more goes to a person")
        assert "More than 25 in 100 images go to a person." in page.text("watch")
        states = page.script("return [...document.querySelectorAll('#watch .state')].map(p => p.innerText)")
        assert states == ["Quiet so far", "Alarm: more work", "Quiet so far"]
        assert (
            page.script("return document.querySelectorAll('#watch .tone-good').length") == 0
        )  # silence proves nothing
        assert "evidence 812 of the 100 it takes" in page.text("watch")
        assert "labels that came\n140" in page.text("watch")
        assert "5,120 pictures, of which 1,530 went to a person" in page.text("alarms-lede")
        assert "elsewhere-1" in page.text("elsewhere")

    def test_one_that_cannot_be_relied_on_says_why(self, page):
        harm = {**ALARMS["harm"], "void": "61 of 100 labels never came.", "highest": 3e199}
        page.faults.changes["/alarms"] = lambda _: {**ALARMS, "harm": harm}
        page.again()
        page.wait("return document.querySelector('#watch .void')")
        assert "Cannot be relied on" in page.text("watch")
        assert "61 of 100 labels never came." in page.text("watch")
        assert "highest evidence\nover a million" in page.text("watch")

    def test_where_there_are_none_it_says_that_nothing_watches(self, page):
        page.faults.changes["/alarms"] = lambda _: {"state": "off"}
        page.again()
        page.wait("return !document.getElementById('alarms').hidden")
        assert "Alarms are off" in page.text("alarms-lede")

    def test_a_label_is_asked_for_without_saying_the_answer_and_is_counted(self, page, given, answered, withheld):
        def harm():
            status = json.loads(page.script("return fetch('alarms?guard=tiny').then(answer => answer.text())"))
            return {**status["harm"]["counts"], "pending": [each["id"] for each in status["pending"]]}

        page.give(answered, withheld, *given[0][:6])
        page.wait("return document.querySelectorAll('.question').length === 6")
        assert "2 more on this page" in page.text("elsewhere")
        words = page.script("return document.querySelector('.question > div').innerText")
        found, before = of(given, answered), harm()
        assert words.count(found.answer) == 1  # as one of the classes that can be chosen
        send = "const s = document.querySelector('.question select'); s.focus(); s.value = arguments[0];"
        page.script(f"{send} s.form.requestSubmit()", str(CLASSES.index("cross")))
        page.wait("return document.querySelector('.question .answer').innerText.startsWith('Thank you.')")
        assert "It counts for the harm alarm." in page.text("questions")
        sent = page.faults.bodies[-1]
        assert (sent["label"], sent["guard"]) == ("cross", "tiny")
        after, wrong = harm(), found.answer != "cross"
        assert (after["labels"], after["wrong"]) == (before["labels"] + 1, before["wrong"] + wrong)
        assert set(before["pending"]) - set(after["pending"]) == {sent["id"]}
        page.wait("return !document.getElementById('questions').innerText.includes('Thank you')")
        assert page.script("return document.activeElement.tagName") == "SELECT"  # of the next question
        page.script(f"{send} s.form.requestSubmit()", "none")
        page.wait("return document.querySelector('.question .answer').innerText.startsWith('Thank you.')")
        assert "does not count" in page.text("questions")  # it was withheld
        assert page.faults.bodies[-1]["correct"] is False

    def test_a_label_that_contradicts_an_earlier_one_is_refused_in_the_words_of_the_server(self, page, answered):
        page.give(answered)
        page.wait("return document.querySelector('.question')")
        post = """
          const id = document.querySelector(".question select").id.replace("label-", "");
          const body = JSON.stringify({ id, guard: "tiny", correct: false });
          return fetch("feedback", { method: "POST", headers: { "Content-Type": "application/json" }, body })
            .then((answer) => answer.status);
        """
        assert page.script(post) == 200
        answer = page.text("verdict-title").removeprefix("Answers: ")
        page.script(
            "const s = document.querySelector('.question select'); s.value = arguments[0]; s.form.requestSubmit()",
            str(CLASSES.index(answer)),
        )
        page.wait("return document.querySelector('.question .answer').innerText !== ''")
        assert page.text("questions").count("Not counted: ") == 1
        assert ("POST", "/feedback") in page.paths()


class TestEverybody:
    def test_it_can_be_used_by_keyboard_alone_and_focus_is_seen(self, page, given):
        page.give(*given[0][:3])
        seen = []
        for _ in range(24):
            page.keys(TAB)
            seen.append(
                page.script("""
              const at = document.activeElement, box = at.closest(".choose") ?? at, style = getComputedStyle(box);
              const outlined = style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2;
              return [at === document.body ? "BODY" : at.id || at.innerText, outlined];
            """)
            )
        reached = [name.strip() for name, _ in seen]
        assert {"guard", "theme", "files", "abstained", "csv", "clear", "Name", "Reason", "00.png", "02.png"} <= set(
            reached
        )
        assert [name for name, outline in seen if not outline and name != "BODY"] == []
        page.script("document.querySelectorAll('#heads button')[0].focus()")
        page.keys(ENTER, ENTER)
        assert page.column("Name") == ["02.png", "01.png", "00.png"]
        page.script("document.querySelector('#rows .see').focus()")
        page.keys(ENTER)
        assert page.text("picture-name").startswith("02.png")
        page.script("document.querySelector('#fine-print summary').focus()")
        page.keys(SPACE)
        assert page.shown("void-when")

    @pytest.mark.parametrize("scheme", ["light", "dark"])
    @pytest.mark.parametrize("width", [400, 1280])
    def test_it_fits_and_axe_finds_nothing_serious(self, place, given, width, scheme):
        page = place.open(width, 900, scheme)
        page.faults.changes["/alarms"] = lambda _: ALARMS
        page.give(*given[0][:8])
        page.script("document.querySelector('#rows .see').click(); document.getElementById('fine-print').open = true")
        page.wait("return document.querySelector('.question') && document.querySelector('.banner')")
        assert page.script("return document.documentElement.scrollWidth") <= width
        assert page.log() == []
        axe = next((path for path in PLACES if path.is_file()), None)
        if axe is None:
            pytest.skip("axe-core is not installed")
        page.browser.script(f"{axe.read_text('utf-8')}\nwindow.axe = axe;{RUN}")
        page.wait("return window.found !== null")
        assert page.script("return window.found") == []

    def test_the_button_changes_the_theme(self, page):
        colour = "return getComputedStyle(document.body).backgroundColor"
        before = page.script(colour)
        page.press("theme")
        assert page.script(colour) != before
        assert page.text("theme") == "Light"
