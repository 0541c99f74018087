"""The page of a service in a browser, for tests: opened, logged in, and watched for what comes from elsewhere."""

import contextlib

import lab
import wanted

WATCH = """() => {
  window.violations = [];
  const keep = (one) => window.violations.push(`${one.violatedDirective} ${one.blockedURI}`);
  document.addEventListener("securitypolicyviolation", keep);
}"""


@contextlib.contextmanager
def opened(browser, url, fragment="", script="", **how):
    """Open the page of the service at ``url`` at a fragment, in a context of its own; ``script`` runs before its own.

    What it asks for and what the policy stops is kept, and must be nothing.
    """
    with contextlib.closing(browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **how})) as context:
        page = context.new_page()
        page.set_default_timeout(lab.SHOWS_WITHIN_MS)
        page.add_init_script(f"({WATCH})();{script}")
        page.asked = []
        page.on("request", lambda one: page.asked.append(one.url))
        page.goto(f"{url}/{fragment}")
        yield page
        foreign = [url_ for url_ in page.asked if not url_.startswith(url)]
        assert foreign == []
        assert page.evaluate("() => window.violations") == []


def by_code(client):
    """Return the fragment that logs in."""
    return f"#code={client.login_code().code}"


def at(page, view):
    """Wait until somebody is logged in, and go to a view."""
    button(page, "Stop everything").wait_for()
    page.evaluate("to => { location.hash = to }", view)
    page.locator("main .as-panel").wait_for()


def expects(locator):
    """Return Playwright's assertions about a locator."""
    expect = wanted.module("playwright.sync_api").expect
    expect.set_options(timeout=lab.SHOWS_WITHIN_MS)
    return expect(locator)


def button(page, name):
    """Return the button of a name."""
    return page.get_by_role("button", name=name, exact=True)


def log_in(page, secret):
    """Paste a key, and press the button."""
    page.get_by_label("Key", exact=True).fill(secret)
    button(page, "Log in").click()
