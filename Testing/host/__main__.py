"""`python -m Testing.host [--module PATH] [--screenshot FILE]`: the module in a window."""

from __future__ import annotations

import argparse
import sys

from Testing.host.session import start


def main(arguments: list[str]) -> int:
    """Opens the window; with --screenshot takes a picture of it and ends."""
    parser = argparse.ArgumentParser(prog="python -m Testing.host", description=__doc__)
    parser.add_argument("--module", help="the .py file of a scripted module to open")
    parser.add_argument("--volume", help="a volume file to load")
    parser.add_argument("--screenshot", help="write a picture of the window to this file and end")
    options = parser.parse_args(arguments)
    host = start(testing=options.screenshot is not None)
    window = host.application.window
    window.show()
    if options.volume:
        host.slicer.util.loadVolume(options.volume)
        host.slicer.app.layoutManager().resetSliceViews()
    if options.module:
        module = host.load_module(options.module)
        host.open_module(module.name)
    host.process_events(lambda: False, timeout=0.3)
    if options.screenshot:
        host.screenshot(options.screenshot)
        host.unload_modules()
        return 0
    result = int(host.application.exec())
    host.unload_modules()
    return result


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
