"""The widgets of CTK and Slicer that the host emulates, by their names in Slicer."""

from __future__ import annotations

from Testing.host.widgets import (
    ctk_buttons,
    ctk_numbers,
    ctk_paths,
    mrml_basic,
    mrml_views,
    node_combo_box,
    place_widget,
    plots,
    segment_editor,
    segments_table,
    terminology,
    ui_loader,
)
from Testing.host.wrapping import register_widget_class

WIDGET_CLASSES: dict[str, type] = {}
for _module in (
    ctk_buttons,
    ctk_numbers,
    ctk_paths,
    mrml_basic,
    mrml_views,
    node_combo_box,
    place_widget,
    plots,
    segment_editor,
    segments_table,
    terminology,
    ui_loader,
):
    WIDGET_CLASSES.update(_module.CLASSES)


def register() -> None:
    """Makes all of them known to the modules `ctk` and `slicer` and to .ui files."""
    for full_name, native_class in WIDGET_CLASSES.items():
        register_widget_class(full_name, native_class)
