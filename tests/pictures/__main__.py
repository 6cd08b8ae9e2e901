"""`python -m tests.pictures [FOLDER] [--seconds N]`: every picture that the documentation shows, in Debian's Chromium.

The page is the real one, of a real sidecar in the demo's world, with traffic that comes in the same order each time.
"""

import argparse
import asyncio
import os
import re
import tempfile
from pathlib import Path

from playwright.async_api import Browser, Page, async_playwright, expect

from sidecar.demo.world import World
from sidecar.process.endpoints import admin
from tests.pictures import origin, terminal
from tests.pictures.traffic import STOLEN, policy, refused, send
from tests.support.debian import program

WINDOWS = {
    "admin-light": (1280, "light"),
    "admin-dark": (1280, "dark"),
    "admin-narrow": (390, "light"),
    "admin-narrow-dark": (390, "dark"),
}
"""Picture → width of its window in pixels, and what its reader prefers."""
TERMINALS = {"demo": ("demo", "--check")}
"""Picture → arguments of the command."""
PATIENCE = 60_000  # milliseconds


def page_source() -> str:
    """The digest of the files of the admin page."""
    static = Path(admin.__file__).parent / "static"
    return origin.digest(*(file.read_bytes() for file in sorted(static.iterdir())))


def printed_source(output: str) -> str:
    """The digest of a command's output, without the name of the temporary folder."""
    return origin.digest(re.sub(r"/\S*/sidecar-demo-\S+", "FOLDER", output).encode())


async def pictures(folder: Path, seconds: float) -> None:
    """Make all of them."""
    folder.mkdir(parents=True, exist_ok=True)
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=program("chromium", "chromium"), args=["--no-sandbox"]
        )
        for name, arguments in TERMINALS.items():
            await _terminal(browser, folder / f"{name}.png", arguments)
        with tempfile.TemporaryDirectory(prefix="sidecar-pictures-") as place:
            await _admin_page(browser, World(Path(place)), folder, seconds)
        await browser.close()


async def _terminal(browser: Browser, file: Path, arguments: tuple[str, ...]) -> None:
    output = await asyncio.to_thread(terminal.printed, *arguments)
    shown = await browser.new_page()
    await shown.set_content(terminal.page(" ".join(["sidecar", *arguments]), output))
    origin.write(file, await shown.locator("pre").screenshot(), printed_source(output))
    await shown.close()


async def _admin_page(browser: Browser, world: World, folder: Path, seconds: float) -> None:
    os.environ["POD_NAME"] = "accounts-api-5c7d9"  # the sidecar inherits it; else the page names this machine
    try:
        await world.start()
        link = (
            f"http://127.0.0.1:{world.admin_port}/#token={(world.folder / 'admin-token').read_text().strip()}"
        )
        pages = {name: await _opened(browser, link, *window) for name, window in WINDOWS.items()}
        (world.folder / "policy.yaml").write_text(policy(world))
        for page in pages.values():
            await expect(page.locator("#configuration")).to_contain_text("generation 2", timeout=PATIENCE)
        await send(world, seconds)
        await refused(world)
        for name, page in pages.items():
            await _prepare(page, world)
            origin.write(folder / f"{name}.png", await page.screenshot(full_page=True), page_source())
    finally:
        await world.stop()


async def _opened(browser: Browser, link: str, width: int, scheme: str) -> Page:
    context = await browser.new_context(
        viewport={"width": width, "height": 900},
        color_scheme="dark" if scheme == "dark" else "light",
        reduced_motion="reduce",
    )
    page = await context.new_page()
    await page.goto(link)
    await expect(page.locator("#readiness")).to_have_text("ready", timeout=PATIENCE)
    return page


async def _prepare(page: Page, world: World) -> None:
    """Hold the decisions, open the refusal of the stolen token, and ask why."""
    stolen = page.locator("#decisions summary", has_text=STOLEN).first
    await expect(stolen).to_be_visible(timeout=PATIENCE)
    await page.locator("#pause").click()
    await stolen.click()
    await page.locator("#token").fill(world.issuer.token(world.rightful))
    await page.locator("#certificate").fill(world.thief.certificate_file.read_text())
    await page.locator("#url").fill(STOLEN)
    await page.locator("#explain button[type=submit]").click()
    await expect(page.locator("#answer .verdict")).to_contain_text("refused 401", timeout=PATIENCE)
    await expect(page.locator("#adoption tbody tr").first).to_be_visible(timeout=PATIENCE)
    await page.locator("#token").fill("")  # a token has no place in a picture
    await page.evaluate("document.activeElement.blur(); document.querySelector('#decisions').scrollTop = 0")


def main() -> None:
    """As the module's documentation says."""
    parser = argparse.ArgumentParser(prog="python -m tests.pictures")
    parser.add_argument("folder", type=Path, nargs="?", default=Path("docs/images"))
    parser.add_argument(
        "--seconds", type=float, default=60, help="of traffic before the pictures are taken (60)"
    )
    arguments = parser.parse_args()
    asyncio.run(pictures(arguments.folder, arguments.seconds))


if __name__ == "__main__":
    main()
