"""Measures the size of a report and how fast a browser loads and filters it.

    python benchmarks/report_page.py runs/f8k/report.html

Needs the extra `browser` and Chromium.
"""

import argparse
import shutil
import statistics
from pathlib import Path

from playwright.sync_api import sync_playwright

_TIMES = 5


def main() -> None:
    """Prints the size, and the medians of the times."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("page", type=Path, help="a report.html")
    page = parser.parse_args().page.resolve()
    times: dict[str, list[float]] = {"loaded": [], "filtered by a word": []}
    with sync_playwright() as playwright:
        found = shutil.which("chromium") or shutil.which("google-chrome")
        browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        for _ in range(_TIMES):
            window = browser.new_page(viewport={"width": 1280, "height": 900})
            window.goto(page.as_uri())
            timing = "performance.getEntriesByType('navigation')[0].loadEventEnd"
            window.wait_for_function(f"{timing} > 0")
            times["loaded"].append(window.evaluate(timing))
            field = window.get_by_label("with the words").element_handle()
            times["filtered by a word"].append(
                window.evaluate(
                    """async (field) => {
                      const start = performance.now();
                      field.value = "dog";
                      field.dispatchEvent(new Event("input", { bubbles: true }));
                      await new Promise((done) =>
                        requestAnimationFrame(() => requestAnimationFrame(done)));
                      return performance.now() - start;
                    }""",
                    field,
                )
            )
            pictures = window.locator("article").count()
            window.close()
        browser.close()
    print(f"{pictures} images, {page.stat().st_size / 1e6:.1f} MB")
    for name, spent in times.items():
        print(
            f"{name} in {statistics.median(spent):.0f} ms, the slowest of {_TIMES} {max(spent):.0f}"
        )


if __name__ == "__main__":
    main()
