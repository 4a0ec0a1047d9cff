"""The panel is as narrow as Slicer's column: nothing makes it scroll sideways."""

from __future__ import annotations

from typing import Any

SECTIONS = ("project", "cases", "annotate", "learn", "review", "segment", "advanced")
LABELS = ("setupLabel", "messageLabel", "projectLabel", "learnStatusLabel", "segmentLabel", "modelLabel")


def test_the_panel_fits_the_column_also_with_long_paths(widget: Any, host: Any) -> None:
    from Testing.host.conversion import to_qt
    from Testing.host.window import PANEL_WIDTH

    ui = widget.ui
    for name in SECTIONS:
        getattr(ui, f"{name}Section").collapsed = False
    for name in LABELS:
        getattr(ui, name).text = "/home/" + 100 * "x"
    ui.setupFrame.visible = ui.messageFrame.visible = True
    host.process_events()
    scroll_bar = 16
    assert to_qt(widget.parent).minimumSizeHint().width() <= PANEL_WIDTH - scroll_bar
    ui.setupFrame.visible = ui.messageFrame.visible = False
